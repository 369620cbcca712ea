import 'reflect-metadata';

import { mkdtempSync } from 'node:fs';

import { IsString } from 'class-validator';
import type Koa from 'koa';
import { getMetadataArgsStorage } from 'routing-controllers';
import { InMemoryBackend, SessionBackend, SessionCookie, SessionData } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import request from 'supertest';
import { Container } from 'typedi';

@SessionData
class UserSession {
  @IsString() username!: string;
}

async function example(secretKey: string, app: ReturnType<Koa['callback']>): Promise<void> {
  /* snippet */
}
