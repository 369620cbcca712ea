import 'reflect-metadata';
import { createHmac, createSecretKey, randomBytes, timingSafeEqual } from 'node:crypto';

import Koa, { type Context } from 'koa';
import { Ctx, ForbiddenError, Get, JsonController, Post, useKoaServer } from 'routing-controllers';

import { LIFETIME, meOf, nextProfile, type Profile, SECRET, somethingSlow } from '../profile.js';
import type { Engines, Opened, Store } from '../subject.js';
import { type BoundStore, openBoundStore } from './bound-stores.js';

const NAME = 'bound';
const key = createSecretKey(Buffer.from(SECRET));
let sessions: BoundStore;

function sign(id: string): Buffer {
  return createHmac('sha256', key).update(id).digest();
}

/** Returns the id in a header, if it has the right signature. */
function idOf(header: string | undefined): string | undefined {
  const at = header?.indexOf(`${NAME}=`) ?? -1;
  if (header === undefined || at === -1) return undefined;
  const end = header.indexOf(';', at);
  const [id = '', mac = ''] = header.slice(at + NAME.length + 1, end === -1 ? undefined : end).split('.');
  const given = Buffer.from(mac, 'base64url');
  const right = sign(id);
  return given.length === right.length && timingSafeEqual(given, right) ? id : undefined;
}

/** What the middleware leaves to the actions. */
interface State {
  id?: string;
  profile?: Profile | undefined;
}

function required(ctx: Context): { id: string; profile: Profile } {
  const { id, profile } = ctx.state as State;
  if (id === undefined || !profile) throw new ForbiddenError();
  return { id, profile };
}

/** Stores the new count, and waits only for a store that returns a promise. */
function visited(ctx: Context, visits: number): unknown {
  const { id, profile } = required(ctx);
  profile.visits = visits;
  const written = sessions.write(id, profile);
  const answer = { visits };
  return written instanceof Promise ? written.then(() => answer) : answer;
}

@JsonController()
class BoundController {
  @Get('/me')
  me(@Ctx() ctx: Context) {
    return meOf(required(ctx).profile);
  }

  @Get('/hello')
  hello(@Ctx() ctx: Context) {
    const { profile } = ctx.state as State;
    return { hello: profile?.username ?? 'stranger' };
  }

  @Post('/login')
  async login(@Ctx() ctx: Context) {
    const id = randomBytes(32).toString('base64url');
    await sessions.write(id, nextProfile());
    ctx.set('Set-Cookie', `${NAME}=${id}.${sign(id).toString('base64url')}; Path=/; HttpOnly; Max-Age=${LIFETIME}`);
    return { ok: true };
  }

  @Post('/visit')
  visit(@Ctx() ctx: Context) {
    return visited(ctx, required(ctx).profile.visits + 1);
  }

  @Post('/slow-visit')
  async slowVisit(@Ctx() ctx: Context) {
    const { visits } = required(ctx).profile;
    await somethingSlow();
    return visited(ctx, visits + 1);
  }
}

/** The least that a session can be: a signed id and one call of a driver, without expiry, rotation and revocation. */
export async function open(store: Store, engines: Engines): Promise<Opened> {
  sessions = await openBoundStore(store, engines);
  const { read, close } = sessions;
  const app = new Koa();
  app.use((ctx, next) => {
    const state = ctx.state as State;
    const id = idOf(ctx.headers.cookie);
    if (id === undefined) return next();
    state.id = id;
    const profile = read(id);
    if (!(profile instanceof Promise)) {
      state.profile = profile;
      return next();
    }
    return profile.then(found => {
      state.profile = found;
      return next();
    });
  });
  useKoaServer(app, { controllers: [BoundController] });
  return {
    listener: app.callback(),
    readOf: cookie => read(cookie.slice(NAME.length + 1, cookie.indexOf('.'))),
    close: async () => {
      await close?.();
    },
  };
}
