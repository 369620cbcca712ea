import 'reflect-metadata';

import { strict as assert } from 'node:assert';

import { Get, JsonController, useContainer } from 'routing-controllers';
import { InMemoryBackend, SessionCookie, SessionData } from 'routing-controllers-sessions';
import request from 'supertest';
import { Container, Service } from 'typedi';

import { UserSession } from './user-session.js';

const sessions = new SessionCookie({
  secretKey: 'for the examples: 32 bytes at least',
  dataModel: UserSession,
  backend: new InMemoryBackend(),
});
useContainer(Container);
Container.set(SessionCookie, sessions);

@Service()
@JsonController()
class AccountController {
  @Get('/me')
  me(@SessionData { username }: UserSession) {
    return { username };
  }
}
