import 'reflect-metadata';

import { IsString } from 'class-validator';
import { Principal, SessionBackend, SessionCookie, SessionData } from 'routing-controllers-sessions';
import { Container } from 'typedi';

@SessionData
class UserSession {
  @IsString() @Principal() username!: string;
}
