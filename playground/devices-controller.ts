import { JsonController } from 'routing-controllers';
import { SessionsController } from 'routing-controllers-sessions';
import { Service } from 'typedi';

/** The whole of it: list, current, end one, end all others. */
@Service()
@JsonController('/devices')
export class DevicesController extends SessionsController {}
