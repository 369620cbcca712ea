import 'reflect-metadata';

import { strict as assert } from 'node:assert';

import { IsArray, IsBoolean, IsInt, IsString } from 'class-validator';
import type { Context } from 'koa';
import {
  Authorized,
  Body,
  BodyParam,
  createKoaServer,
  Ctx,
  CurrentUser,
  Delete,
  Get,
  JsonController,
  OnUndefined,
  Param,
  Post,
  QueryParam,
  UnauthorizedError,
  useContainer,
} from 'routing-controllers';
import {
  CurrentSession,
  InMemoryBackend,
  Principal,
  RequireSession,
  type Session,
  SessionBackend,
  SessionCookie,
  SessionData,
  SessionGoneError,
  type SessionCookieOptions,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import request from 'supertest';
import { Container, Service } from 'typedi';

@SessionData
class UserSession {
  @IsString() @Principal() username!: string;
  @IsArray() @IsString({ each: true }) roles: string[] = [];
  @IsInt() visits = 0;
}

const secretKey = 'for the examples: 32 bytes at least';
let now = Date.parse('2030-01-01T00:00:00Z');
const sessions = new SessionCookie({
  secretKey,
  dataModel: UserSession,
  backend: new InMemoryBackend(),
  clock: () => now,
});
const users = {
  /** The user of these credentials, or `undefined`. */
  async verify(username: string, password: string): Promise<UserSession | undefined> {
    if (password !== 'sesame') return undefined;
    return Object.assign(new UserSession(), { username, roles: username === 'grace' ? ['admin'] : [] });
  },
  async changePassword(username: string, password: string): Promise<void> {
    assert.ok(username !== '' && password !== '');
  },
};
class Credentials {
  @IsString() username!: string;
  @IsString() password!: string;
}

useContainer(Container);
Container.set(SessionCookie, sessions);

const lines: Record<string, unknown>[] = [];
const logger = {
  info: (line: object) => lines.push({ level: 'info', ...line }),
  warn: (line: object) => lines.push({ level: 'warn', ...line }),
  error: (line: object) => lines.push({ level: 'error', ...line }),
};
