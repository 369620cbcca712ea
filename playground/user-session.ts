import { IsString } from 'class-validator';
import { Principal, SessionData } from 'routing-controllers-sessions';

/** What the playground keeps of a visitor. */
@SessionData
export class UserSession {
  @IsString()
  @Principal()
  username!: string;
}
