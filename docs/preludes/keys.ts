import 'reflect-metadata';

import { strict as assert } from 'node:assert';

import { IsString } from 'class-validator';
import Koa from 'koa';
import { InMemoryBackend, SessionBackend, SessionCookie, SessionData } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import request from 'supertest';
import { Container } from 'typedi';
import { useContainer } from 'routing-controllers';

@SessionData
class UserSession {
  @IsString() username!: string;
}
const oldSecret = 'the old secret: 32 bytes at least';
const newSecret = 'the new secret: 32 bytes at least';
useContainer(Container);
Container.set(SessionBackend, new InMemoryBackend());
