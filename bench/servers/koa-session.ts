import 'reflect-metadata';
import Koa, { type Context } from 'koa';
import { createSession } from 'koa-session';
import { createClient } from 'redis';
import { Ctx, ForbiddenError, Get, JsonController, Post, useKoaServer } from 'routing-controllers';

import { LIFETIME, meOf, nextProfile, type Profile, SECRET, somethingSlow } from '../profile.js';
import type { Engines, Opened, Store } from '../subject.js';

function sessionOf(ctx: Context): Partial<Profile> {
  return ctx['session'] as Partial<Profile>;
}

function required(ctx: Context): Profile {
  const session = sessionOf(ctx);
  if (session.username === undefined) throw new ForbiddenError();
  return session as Profile;
}

@JsonController()
class KoaSessionController {
  @Get('/me')
  me(@Ctx() ctx: Context) {
    return meOf(required(ctx));
  }

  @Get('/hello')
  hello(@Ctx() ctx: Context) {
    return { hello: sessionOf(ctx).username ?? 'stranger' };
  }

  @Post('/login')
  login(@Ctx() ctx: Context) {
    ctx['session'] = nextProfile();
    return { ok: true };
  }

  @Post('/visit')
  visit(@Ctx() ctx: Context) {
    return { visits: ++required(ctx).visits };
  }

  @Post('/slow-visit')
  async slowVisit(@Ctx() ctx: Context) {
    const session = required(ctx);
    await somethingSlow();
    return { visits: ++session.visits };
  }
}

interface KoaStore {
  get(key: string): Promise<unknown>;
  set(key: string, session: object): Promise<void>;
  destroy(key: string): Promise<void>;
}

/** Stores objects without a copy: the cheapest possible store for koa-session. */
function memoryStore(): KoaStore {
  const sessions = new Map<string, object>();
  return {
    get: key => Promise.resolve(sessions.get(key)),
    set: (key, session) => {
      sessions.set(key, session);
      return Promise.resolve();
    },
    destroy: key => {
      sessions.delete(key);
      return Promise.resolve();
    },
  };
}

async function redisStore(port: number | undefined): Promise<{ store: KoaStore; close: () => Promise<void> }> {
  const client = createClient({ socket: { host: '127.0.0.1', port: port! } });
  await client.connect();
  const store: KoaStore = {
    async get(key) {
      const text = await client.get(`koa:${key}`);
      return text === null ? undefined : (JSON.parse(text) as unknown);
    },
    async set(key, session) {
      await client.set(`koa:${key}`, JSON.stringify(session), { expiration: { type: 'EX', value: LIFETIME } });
    },
    async destroy(key) {
      await client.del(`koa:${key}`);
    },
  };
  return { store, close: () => client.close() };
}

/** koa-session as in its documentation: signed, with an external store. */
export async function open(kind: Store, { redisPort }: Engines): Promise<Opened> {
  const { store, close } =
    kind === 'redis' ? await redisStore(redisPort) : { store: memoryStore(), close: () => Promise.resolve() };
  const app = new Koa();
  app.keys = [SECRET];
  app.use(createSession({ store, maxAge: LIFETIME * 1000 }, app));
  useKoaServer(app, { controllers: [KoaSessionController] });
  return { listener: app.callback(), close };
}
