import { IsInt, IsOptional, IsString } from 'class-validator';
import { Principal, SessionData } from 'routing-controllers-sessions';

/** What the playground keeps of a visitor. */
@SessionData
export class UserSession {
  @IsString()
  @Principal()
  username!: string;

  /** How many are in the basket; absent until the first. */
  @IsOptional()
  @IsInt()
  apples?: number;
}
