import 'reflect-metadata';

import { IsInt, IsOptional, IsString } from 'class-validator';
import type { Context } from 'koa';
import { createKoaServer, Ctx, JsonController, Post, useContainer } from 'routing-controllers';
import {
  CurrentSession,
  InMemoryBackend,
  Principal,
  type Session,
  SessionCookie,
  SessionData,
  type SessionRecord,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import request from 'supertest';
import { Container } from 'typedi';

import { readDocument, tableUnder } from './markdown.js';

@SessionData
class UserSession {
  @IsString() @Principal() username!: string;
  @IsInt() count!: number;
  @IsOptional() @IsString() note?: string;
}

type Act = (session: Session<UserSession>, ctx: Context) => unknown;

/** What the next requests to /act do, one after another. */
let acts: Act[] = [];

@JsonController()
class Controller {
  @Post('/act')
  async act(@CurrentSession() session: Session<UserSession>, @Ctx() ctx: Context) {
    await acts.shift()?.(session, ctx);
    return { answer: 'of the action' };
  }

  @Post('/log-in')
  async logIn(@Ctx() ctx: Context) {
    await acts.shift()?.(undefined as never, ctx);
    return { answer: 'of the action' };
  }
}

class FailingBackend extends InMemoryBackend {
  failing: 'read' | 'create' | undefined;
  writes = 0;

  override create(record: SessionRecord): Promise<boolean> {
    return this.failing === 'create' ? Promise.reject(new Error('down')) : super.create(record);
  }
  override read(id: string): Promise<SessionRecord | undefined> {
    return this.failing === 'read' ? Promise.reject(new Error('down')) : super.read(id);
  }
  override update(...args: Parameters<InMemoryBackend['update']>) {
    this.writes++;
    return super.update(...args);
  }
}

let now: number;
let backend: FailingBackend;
let sessions: SessionCookie<UserSession>;
let server: ReturnType<ReturnType<typeof createKoaServer>['callback']>;
let cookie: string;

beforeEach(async () => {
  now = Date.parse('2030-01-01T00:00:00Z');
  acts = [];
  backend = new FailingBackend();
  const secretKey = 'only for tests, and 32 bytes long';
  sessions = new SessionCookie({ secretKey, dataModel: UserSession, backend, clock: () => now });
  Container.reset();
  useContainer(Container);
  Container.set(SessionCookie, sessions);
  Container.set(Controller, new Controller());
  server = createKoaServer({ controllers: [Controller], development: false }).callback();
  cookie = await signIn(sessions, { username: 'ada', count: 0 });
});

const DONE = { answer: 'of the action' };

function act(...next: Act[]) {
  acts.push(...next);
  return request(server).post('/act').set('Cookie', cookie);
}

async function stored(): Promise<Partial<UserSession>> {
  const [record] = await backend.listByPrincipal('ada');
  const json = record?.data.slice(record.data.indexOf('{')) ?? '{}';
  return JSON.parse(json) as Partial<UserSession>;
}

function cookieOf(answer: request.Response): string {
  return answer.get('Set-Cookie')?.[0]?.split(';')[0] ?? '';
}

/** Holds two requests up until both have loaded the session. */
function meeting(): () => Promise<void> {
  let arrived = 0;
  let open: () => void;
  const both = new Promise<void>(resolve => (open = resolve));
  return () => {
    if (++arrived === 2) open();
    return both;
  };
}

/** By the words of the table's first column. */
const rows: Record<string, () => Promise<void>> = {
  'the action changed nothing': async () => {
    await act(() => undefined).expect(200, DONE);
    expect(backend.writes).toBe(0);
  },

  'the action changed data and succeeds': async () => {
    await act(session => void (session.data.count = 1)).expect(200, DONE);
    expect(await stored()).toMatchObject({ count: 1 });
  },

  'the action answers with a status from 400 to 499': async () => {
    await act((session, ctx) => {
      session.data.count = 1;
      ctx.status = 422;
    }).expect(422);
    expect(await stored()).toMatchObject({ count: 1 });
  },

  'the action fails with 500 or more': async () => {
    await act(async session => {
      await session.update(data => void (data.note = 'stored'));
      session.data.count = 1;
      throw new Error('broken');
    }).expect(500);
    expect(await stored()).toEqual({ username: 'ada', count: 0, note: 'stored' });
  },

  'the data breaks the model': async () => {
    const answer = await act(session => void (session.data.count = 1.5)).expect(500);
    expect(answer.body).toMatchObject({ code: 'ERR_SESSION_DATA' });
    expect(await stored()).toMatchObject({ count: 0 });
  },

  'the session was ended while the action ran, and there is something to save': async () => {
    const answer = await act(async session => {
      session.data.count = 1;
      await backend.delete(session.id);
    }).expect(409);
    expect(answer.body).toMatchObject({ code: 'ERR_SESSION_GONE' });
    expect(await stored()).toEqual({});
  },

  'the session was ended while the action ran, and nothing changed': async () => {
    await act(session => backend.delete(session.id)).expect(200, DONE);
  },

  'the session was rotated by another request while the action ran, and there is something to save': async () => {
    const answer = await act(
      async session => {
        session.data.count = 1;
        await act().expect(200);
      },
      session => session.rotate(),
    ).expect(200, DONE);
    expect(answer.headers['set-cookie']).toBeUndefined();
    expect(await stored()).toMatchObject({ count: 1 });
  },

  'the session was rotated by another request, and this one rotates it, too': async () => {
    let fresh = '';
    const answer = await act(
      async session => {
        fresh = cookieOf(await act().expect(200));
        await session.rotate();
      },
      session => session.rotate(),
    ).expect(409);
    expect(answer.body).toMatchObject({ code: 'ERR_SESSION_GONE' });
    await request(server).post('/act').set('Cookie', fresh).expect(200);
  },

  'the session expired while the action ran, and there is something to save': async () => {
    const answer = await act(session => {
      session.data.count = 1;
      now += 14 * 86_400_000;
    }).expect(409);
    expect(answer.body).toMatchObject({ code: 'ERR_SESSION_GONE' });
    expect(await stored()).toMatchObject({ count: 0 });
  },

  '`end()` is called after another request rotated the session': async () => {
    let fresh = '';
    await act(
      async session => {
        fresh = cookieOf(await act().expect(200));
        await session.end();
      },
      session => session.rotate(),
    ).expect(200, DONE);
    expect(fresh).toMatch(/^session=/);
    await request(server).post('/act').set('Cookie', fresh).expect(403);
  },

  '`end()` is called twice': async () => {
    await act(async session => {
      await session.end();
      await session.end();
    }).expect(200, DONE);
  },

  'two requests assign different properties': async () => {
    const met = meeting();
    const first = act(async session => (session.data.count = await met().then(() => 1)));
    const second = act(async session => (session.data.note = await met().then(() => 'kept')));
    await Promise.all([first.expect(200), second.expect(200)]);
    expect(await stored()).toEqual({ username: 'ada', count: 1, note: 'kept' });
  },

  'two requests assign the same property': async () => {
    const conflicts: string[] = [];
    sessions.on('conflict', ({ properties }) => conflicts.push(...properties));
    const met = meeting();
    const order: number[] = [];
    const assign = (count: number) =>
      act(async session => {
        await met();
        session.data.count = count;
        order.push(count);
      });
    await Promise.all([assign(1).expect(200), assign(2).expect(200)]);
    expect(await stored()).toMatchObject({ count: order[1] });
    expect(conflicts).toEqual(['count']);
  },

  'the backend fails or is too slow while the session is loaded': async () => {
    backend.failing = 'read';
    const answer = await act(() => undefined).expect(503);
    expect(answer.body).toMatchObject({ code: 'ERR_SESSION_UNAVAILABLE' });
    expect(answer.headers['retry-after']).toBe('1');
    expect(answer.headers['set-cookie']).toBeUndefined();
  },

  'the backend fails when a session is created': async () => {
    backend.failing = 'create';
    acts.push((_, ctx) => sessions.createSession({ username: 'bob', count: 0 }, ctx));
    const answer = await request(server).post('/log-in').expect(503);
    expect(answer.headers['set-cookie']).toBeUndefined();
    expect(await backend.listByPrincipal('bob')).toEqual([]);
  },

  'the response has begun when a session is created': async () => {
    let thrown: unknown;
    acts.push(async (_, ctx) => {
      ctx.respond = false;
      ctx.res.writeHead(200).end('begun');
      thrown = await sessions.createSession({ username: 'bob', count: 0 }, ctx).catch((error: unknown) => error);
    });
    await request(server).post('/log-in').expect(200, 'begun');
    expect(thrown).toMatchObject({ code: 'ERR_SESSION_HEADERS_SENT' });
    expect(await backend.listByPrincipal('bob')).toEqual([]);
  },
};

describe('what happens when, by the table in docs/data.md:', () => {
  const table = tableUnder(readDocument('docs/data.md'), 'What happens when');

  test('each of its rows is tested here', () => {
    expect(table.map(([when]) => when)).toEqual(Object.keys(rows));
  });

  test.each(table)('when %s, then %s', async (when = '') => {
    await rows[when]?.();
  });
});
