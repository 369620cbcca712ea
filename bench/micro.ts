import 'reflect-metadata';
import { randomBytes } from 'node:crypto';

import { IsArray, IsInt, IsString } from 'class-validator';

import { InMemoryBackend } from '../src/backends/memory/backend.js';
import { cookieValues } from '../src/cookie/cookie-values.js';
import { Tokens } from '../src/cookie/tokens.js';
import { noTransport } from '../src/koa/koa-transport.js';
import { isSameJson } from '../src/model/json.js';
import { Model } from '../src/model/model.js';
import { Deadlines } from '../src/session/deadlines.js';
import { SessionEventHub } from '../src/session/events.js';
import { Locks } from '../src/session/locks.js';
import { Sessions } from '../src/session/sessions.js';
import { nextProfile, type Profile, SECRET } from './profile.js';

/*
 * The steps of a guarded request one by one, so that a regression has a name. They are not part of the package's interface, so
 * that this file imports sources.
 */

class MicroSession implements Profile {
  @IsString() username!: string;
  @IsString() displayName!: string;
  @IsString() email!: string;
  @IsArray() @IsString({ each: true }) roles!: string[];
  @IsString() locale!: string;
  @IsString() theme!: string;
  @IsString() note!: string;
  @IsInt() visits!: number;
}

/** More than a service remembers, so that none of them is known when its turn comes. */
const COLD_TOKENS = 50_000;

async function main(): Promise<void> {
  const { bench, do_not_optimize, run } = await import('mitata');
  const tokens = new Tokens([SECRET], 'session');
  const { token } = tokens.mint();
  const others = Array.from({ length: 9 }, (_, index) => `other${index}=${randomBytes(12).toString('base64url')}`);
  const header = [...others, `__Host-session=${token}`].join('; ');
  const cold = Array.from({ length: COLD_TOKENS }, () => tokens.mint().token);
  const forged = `${token.slice(0, 50)}${token[50] === 'A' ? 'B' : 'A'}${token.slice(51)}`;

  const model = new Model(MicroSession);
  const plain = await model.create(nextProfile());
  const text = model.encode(plain);
  const instance = model.instantiate(plain);

  const limits = {
    idleTimeout: 1e9,
    absoluteTimeout: 1e9,
    touchInterval: 60_000,
    backendTimeout: 2_000,
    maxSessionsPerPrincipal: Infinity,
    whenFull: 'evict' as const,
    nearCache: undefined,
    watchInterval: 1_000,
    watchTimeout: 60_000,
  };
  const backend = new InMemoryBackend();
  const sessions = new Sessions(model, new SessionEventHub(), tokens, limits, Date.now, () => backend);
  let issued = '';
  const transport = { ...noTransport, assertOpen: () => undefined, issue: (made: string) => void (issued = made) };
  const login = { transport, client: {}, earlier: [] };
  const { id } = await sessions.create(nextProfile(), login);
  const opened = tokens.verify(issued);
  if (typeof opened === 'string') throw new Error(`the token of a log-in is refused: ${opened}`);
  const load = () => sessions.open(opened, noTransport, false);

  const deadlines = new Deadlines(2_000);
  const locks = new Locks(4_000);
  const resolved = Promise.resolve(true);
  const expired = () => new Error('too late');
  let next = 0;

  bench('find the cookie among ten', () => do_not_optimize(cookieValues(header, '__Host-session')));
  bench('verify a token that is remembered', () => do_not_optimize(tokens.verify(token)));
  bench('verify a token that is not (MAC, hash)', () =>
    do_not_optimize(tokens.verify(cold[next++ % COLD_TOKENS] ?? '')),
  );
  bench('refuse a token with a wrong MAC', () => do_not_optimize(tokens.verify(forged)));
  bench('make a token', () => do_not_optimize(tokens.mint()));
  bench('decode a record of 300 bytes', () => do_not_optimize(model.decode(text)));
  bench('make an instance of the data', () => do_not_optimize(model.instantiate(plain)));
  bench('commit check: nothing changed', () => do_not_optimize(isSameJson(plain, instance)));
  bench('data as JSON carries it', () => do_not_optimize(model.toPlain(instance)));
  bench('validate the data', () => model.validated(plain));
  bench('encode the data', () => do_not_optimize(model.encode(plain)));
  bench('a deadline', () => deadlines.within(resolved, expired));
  bench('a lock', () => locks.hold(id, () => resolved));
  bench('load from InMemoryBackend', () => do_not_optimize(load()));
  bench('load and update in InMemoryBackend', async () => {
    const session = await load();
    if ('closed' in session) throw new Error(`the session is ${session.closed}`);
    await session.update(data => {
      data.visits++;
    });
  });
  bench('a log-in in InMemoryBackend', async () => {
    const session = await sessions.create(nextProfile(), login);
    await session.end();
  });
  await run();
}

void main();
