import { createRequire } from 'node:module';
import path from 'node:path';

import { workABit } from '../gate.mjs';
import { ABSOLUTE_TIMEOUT, IDLE_TIMEOUT, SECRET } from '../settings.mjs';

// This repository's build, with the packages that it is developed with.
const fromRoot = createRequire(path.resolve(import.meta.dirname, '../../../package.json'));
fromRoot('reflect-metadata');
const { IsInt, IsOptional, IsString } = fromRoot('class-validator');
const Koa = fromRoot('koa');
const { Principal, SessionBackend, SessionCookie, SessionData } = fromRoot('routing-controllers-sessions');

export const name = 'routing-controllers-sessions';
export const { version } = fromRoot('./package.json');

class UserSession {}
SessionData(UserSession);
for (const [property, ...decorators] of [
  ['user', IsString(), Principal()],
  ['count', IsInt()],
  ['note', IsOptional(), IsString()],
]) {
  for (const decorate of decorators) decorate(UserSession.prototype, property);
}

/** The comparison's store as a backend. Each operation is atomic, because it waits for nothing after `turn`. */
class ComparisonBackend extends SessionBackend {
  constructor(store) {
    super();
    this.store = store;
  }
  #stored(id) {
    const text = this.store.entries.get(id);
    return text === undefined ? undefined : JSON.parse(text);
  }
  #put(record) {
    this.store.entries.set(record.id, JSON.stringify(record));
  }
  #all() {
    return [...this.store.entries.values()].map(text => JSON.parse(text));
  }
  async create(record) {
    await this.store.turn('write');
    if (this.#stored(record.id)) return false;
    this.#put(record);
    return true;
  }
  read(id) {
    return this.store.get(id);
  }
  async update(record, expectedVersion) {
    await this.store.turn('write');
    const stored = this.#stored(record.id);
    if (!stored) return 'gone';
    if (stored.version !== expectedVersion) return 'conflict';
    this.#put({ ...record, version: expectedVersion + 1 });
    return 'updated';
  }
  async touch(id, lastSeenAt, expiresAt) {
    await this.store.turn('write');
    const stored = this.#stored(id);
    if (stored && lastSeenAt > stored.lastSeenAt) this.#put({ ...stored, lastSeenAt, expiresAt });
    return stored !== undefined;
  }
  async delete(id) {
    await this.store.turn('write');
    return this.store.entries.delete(id);
  }
  async listByPrincipal(principal) {
    await this.store.turn('read');
    return this.#all().filter(record => record.principal === principal);
  }
  async deleteByPrincipal(principal, exceptId) {
    await this.store.turn('write');
    const ended = this.#all().filter(record => record.principal === principal && record.id !== exceptId);
    for (const { id } of ended) this.store.entries.delete(id);
    return ended.map(({ id }) => id);
  }
  async deleteExpired() {
    return 0;
  }
  async close() {
    this.store.entries.clear();
  }
}

export function makeApp({ store, gate, cookieName }) {
  const sessions = new SessionCookie({
    name: cookieName,
    secretKey: SECRET,
    dataModel: UserSession,
    backend: new ComparisonBackend(store),
    idleTimeout: IDLE_TIMEOUT,
    absoluteTimeout: ABSOLUTE_TIMEOUT,
    touchInterval: 1,
    unauthenticatedStatus: 401,
  });
  const app = new Koa();
  app.silent = true;
  app.use(async (ctx, next) => {
    if (`${ctx.method} ${ctx.path}` !== 'POST /login') return next();
    await sessions.createSession({ user: 'ada', count: 0 }, ctx);
    ctx.body = 'in';
  });
  app.use(sessions.requireSession());
  app.use(async ctx => {
    const session = sessions.current();
    const route = `${ctx.method} ${ctx.path}`;
    ctx.body = 'done';
    if (route === 'POST /logout') await session.end();
    else if (route === 'GET /me') ctx.body = session.data;
    else if (route === 'POST /increment') {
      await session.update(async data => {
        const { count } = data;
        await workABit();
        data.count = count + 1;
      });
    } else if (route.startsWith('POST /set/')) {
      await workABit();
      session.data[route.slice('POST /set/'.length)] = true;
    } else if (route === 'POST /slow') {
      await gate.pass();
      session.data.note = 'late';
    } else if (route === 'GET /sessions') ctx.body = await sessions.listSessions(session.principal);
    else if (route === 'POST /end-others') await sessions.endSessions(session.principal, { except: session.id });
  });
  return app.callback();
}
