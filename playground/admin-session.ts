import { IsString } from 'class-validator';
import { SessionData } from 'routing-controllers-sessions';

/** What the playground keeps of an administrator. */
@SessionData
export class AdminSession {
  @IsString()
  admin!: string;
}
