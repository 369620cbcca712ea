import 'reflect-metadata';
import { createHmac, createSecretKey, randomBytes, timingSafeEqual } from 'node:crypto';

import Koa, { type Context } from 'koa';
import { Ctx, ForbiddenError, Get, JsonController, Post, useKoaServer } from 'routing-controllers';

import { LIFETIME, meOf, nextProfile, type Profile, SECRET, somethingSlow } from '../profile.js';
import type { Opened } from '../subject.js';

const NAME = 'bound';
const sessions = new Map<string, Profile>();
const key = createSecretKey(Buffer.from(SECRET));

function sign(id: string): Buffer {
  return createHmac('sha256', key).update(id).digest();
}

function find(header: string | undefined): Profile | undefined {
  const at = header?.indexOf(`${NAME}=`) ?? -1;
  if (header === undefined || at === -1) return undefined;
  const end = header.indexOf(';', at);
  const [id = '', mac = ''] = header.slice(at + NAME.length + 1, end === -1 ? undefined : end).split('.');
  const given = Buffer.from(mac, 'base64url');
  const right = sign(id);
  return given.length === right.length && timingSafeEqual(given, right) ? sessions.get(id) : undefined;
}

function required(ctx: Context): Profile {
  const profile = ctx.state['profile'] as Profile | undefined;
  if (!profile) throw new ForbiddenError();
  return profile;
}

@JsonController()
class BoundController {
  @Get('/me')
  me(@Ctx() ctx: Context) {
    return meOf(required(ctx));
  }

  @Get('/hello')
  hello(@Ctx() ctx: Context) {
    const profile = ctx.state['profile'] as Profile | undefined;
    return { hello: profile?.username ?? 'stranger' };
  }

  @Post('/login')
  login(@Ctx() ctx: Context) {
    const id = randomBytes(32).toString('base64url');
    sessions.set(id, nextProfile());
    ctx.set('Set-Cookie', `${NAME}=${id}.${sign(id).toString('base64url')}; Path=/; HttpOnly; Max-Age=${LIFETIME}`);
    return { ok: true };
  }

  @Post('/visit')
  visit(@Ctx() ctx: Context) {
    return { visits: ++required(ctx).visits };
  }

  @Post('/slow-visit')
  async slowVisit(@Ctx() ctx: Context) {
    const { visits } = required(ctx);
    await somethingSlow();
    return { visits: (required(ctx).visits = visits + 1) };
  }
}

/** The least that a session can be: a signed id and a Map, without expiry, rotation and revocation. */
export function open(): Promise<Opened> {
  const app = new Koa();
  app.use((ctx, next) => {
    ctx.state['profile'] = find(ctx.headers.cookie);
    return next();
  });
  useKoaServer(app, { controllers: [BoundController] });
  return Promise.resolve({ listener: app.callback() });
}
