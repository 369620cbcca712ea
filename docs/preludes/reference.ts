import 'reflect-metadata';

import { IsString } from 'class-validator';
import type Koa from 'koa';
import { getMetadataArgsStorage } from 'routing-controllers';
import { routingControllersToSpec } from 'routing-controllers-openapi';
import { InMemoryBackend, SessionBackend, SessionCookie, SessionData } from 'routing-controllers-sessions';
import { withSessionSecurity } from 'routing-controllers-sessions/openapi';
import { signIn } from 'routing-controllers-sessions/testing';
import request from 'supertest';
import { Container } from 'typedi';

@SessionData
class UserSession {
  @IsString() username!: string;
}

const options = {};

async function example(
  secretKey: string,
  app: ReturnType<Koa['callback']>,
  koa: Koa,
  sessions: SessionCookie<UserSession>,
): Promise<void> {
  /* snippet */
}
