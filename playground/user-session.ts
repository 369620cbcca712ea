import { IsInt, IsOptional, IsString } from 'class-validator';
import { Principal, SessionData } from 'routing-controllers-sessions';

/** What the playground keeps of a visitor. */
@SessionData
export class UserSession {
  @IsString()
  @Principal()
  username!: string;

  /** Counted by `update`; absent until the first. */
  @IsOptional()
  @IsInt()
  apples?: number;

  /** Counted by assignment; absent until the first. */
  @IsOptional()
  @IsInt()
  pears?: number;
}
