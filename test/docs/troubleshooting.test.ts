import 'reflect-metadata';

import { transformSync } from 'esbuild';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { IsInt, IsString } from 'class-validator';
import type Koa from 'koa';
import type { Context } from 'koa';
import { createExpressServer, createKoaServer, Ctx, JsonController, Post, useContainer } from 'routing-controllers';
import {
  CurrentSession,
  InMemoryBackend,
  type Session,
  SessionCookie,
  type SessionCookieOptions,
  SessionData,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import request from 'supertest';
import { Container } from 'typedi';

import { readDocument, root, tableUnder } from './markdown.js';

@SessionData
class User {
  @IsString() username!: string;
}

@JsonController()
class Controller {
  @Post('/act')
  act(@CurrentSession() { data }: Session<User>) {
    return data;
  }

  @Post('/log-in')
  async logIn(@Ctx() ctx: Context) {
    return (await Container.get<SessionCookie<User>>(SessionCookie).createSession({ username: 'ada' }, ctx)).data;
  }
}

class FailingBackend extends InMemoryBackend {
  override read(): Promise<never> {
    return Promise.reject(new Error('the disk is on fire'));
  }
}

/** By what the user sees. */
const rows: Record<string, () => Promise<void> | void> = {
  'at start: `nothing is injected into its constructor`': () => {
    register();
    expect(() => void server(controllerByEsbuild())).toThrow('nothing is injected into its constructor');
  },

  'at start: `the container has no SessionCookie`': () => {
    const start = () => void server(Controller);
    expect(start).toThrow('the container has no SessionCookie');
    register();
    expect(start).not.toThrow();
  },

  'at the first request: `its guard is not in place`': async () => {
    register();
    const express = createExpressServer({ controllers: [Controller] }) as Parameters<typeof request>[0];
    const { text } = await request(express).post('/act').expect(500);
    expect(text).toContain('its guard is not in place');
  },

  'after a log-in, the browser does not send the cookie back': async () => {
    const cookieFor = async (host: string) =>
      (await request(server(Controller)).post('/log-in').set('Host', host).expect(200)).get('Set-Cookie')?.[0];
    register();
    expect(await cookieFor('192.168.1.5:3000')).toContain('; Secure');
    expect(await cookieFor('localhost:3000')).not.toContain('; Secure');
    register({ secure: false });
    expect(await cookieFor('192.168.1.5:3000')).not.toContain('; Secure');
  },

  '403 `ERR_SESSION_CROSS_ORIGIN` from a page on another port or host': async () => {
    const origin = 'http://localhost:5173';
    const ask = async (cookie: string) =>
      request(server(Controller)).post('/act').set({ cookie, origin, 'sec-fetch-site': 'same-site' });
    expect((await ask(await signIn(register(), ADA))).body).toMatchObject({ code: 'ERR_SESSION_CROSS_ORIGIN' });
    expect((await ask(await signIn(register({ trustedOrigins: [origin] }), ADA))).body).toEqual(ADA);
  },

  "403 `ERR_SESSION_CROSS_ORIGIN` behind a proxy, from the application's own page": async () => {
    const cookie = await signIn(register(), ADA);
    const koa = createKoaServer({ controllers: [Controller] }) as Koa;
    const ask = () =>
      request(koa.callback())
        .post('/act')
        .set({ cookie, origin: 'https://shop.example', 'x-forwarded-host': 'shop.example' });
    expect((await ask()).body).toMatchObject({ code: 'ERR_SESSION_CROSS_ORIGIN' });
    koa.proxy = true;
    expect((await ask()).body).toEqual(ADA);
  },

  'a restart logs everybody out; or with several processes, every other request is 403': async () => {
    const backend = new InMemoryBackend();
    const cookie = await signIn(register({ backend }), ADA);
    expect(await reasonFor(cookie, { backend, secretKey: SECRET.toUpperCase() })).toBe('signature');
    expect(await reasonFor(cookie, { backend: new InMemoryBackend() })).toBe('unknown');
    expect(await reasonFor(cookie, { backend })).toBeUndefined();
  },

  'old nodes answer 503 during a deployment, and `unavailable` has `the data is of version …`': async () => {
    @SessionData({ version: 1 })
    class Newer {
      @IsString() name!: string;
    }
    const backend = new InMemoryBackend();
    const newer = new SessionCookie({ secretKey: SECRET, dataModel: Newer, backend });
    const sessions = register({ backend });
    const errors: unknown[] = [];
    sessions.on('unavailable', ({ error }) => errors.push(error));
    const cookie = await signIn(newer, { name: 'ada' });
    await request(server(Controller)).post('/act').set('Cookie', cookie).expect(503);
    expect(errors.map(String)).toEqual([expect.stringContaining('the data is of version 1')]);
  },

  'a new version of the application logs everybody out, and `rejected` has `data`': async () => {
    @SessionData
    class Newer {
      @IsInt() age!: number;
    }
    const backend = new InMemoryBackend();
    const cookie = await signIn(register({ backend }), ADA);
    expect(await reasonFor(cookie, { backend, dataModel: Newer as never })).toBe('data');
  },

  '503 `ERR_SESSION_UNAVAILABLE`': async () => {
    const sessions = register({ backend: new FailingBackend() });
    const errors: unknown[] = [];
    sessions.on('unavailable', ({ error }) => errors.push(error));
    await request(server(Controller))
      .post('/act')
      .set('Cookie', await signIn(sessions, ADA))
      .expect(503);
    expect(errors).toEqual([new Error('the disk is on fire')]);
  },

  '`npm error ERESOLVE`, about class-validator or typescript': () => {
    expect(peersOf('routing-controllers')['class-validator']).toMatch(/^\^0\.14\./);
    expect(peersOf('ts-jest')['typescript']).toMatch(/<7$/);
  },
};

describe('symptoms, by the table in docs/troubleshooting.md:', () => {
  const table = tableUnder(readDocument('docs/troubleshooting.md'), 'Troubleshooting');

  beforeEach(() => {
    useContainer(Container);
    Container.remove(SessionCookie);
  });

  test('each of its rows is tested here', () => {
    expect(table.map(([seen]) => seen)).toEqual(Object.keys(rows));
  });

  test.each(table)('%s: because %s', async (seen = '') => {
    await rows[seen]?.();
  });
});

const SECRET = 'only for tests, and 32 bytes long';
const ADA = { username: 'ada' };

function register(options: Partial<SessionCookieOptions<User>> = {}): SessionCookie<User> {
  const sessions = new SessionCookie({
    secretKey: SECRET,
    dataModel: User,
    backend: new InMemoryBackend(),
    ...options,
  });
  Container.set(SessionCookie, sessions);
  Container.set(Controller, new Controller());
  return sessions;
}

type Handler = ReturnType<Koa['callback']>;

function server(controller: Function): Handler {
  return (createKoaServer({ controllers: [controller], development: false }) as Koa).callback();
}

/** Why a service with these options turns the cookie away; `undefined` if it does not. */
async function reasonFor(cookie: string, options: Partial<SessionCookieOptions<User>>): Promise<string | undefined> {
  let reason: string | undefined;
  register(options).on('rejected', event => (reason = event.reason));
  await request(server(Controller)).post('/act').set('Cookie', cookie);
  return reason;
}

/** A controller compiled as tsx would. */
function controllerByEsbuild(): Function {
  const { code } = transformSync(
    `
    import { Ctx, JsonController, Post } from 'routing-controllers';
    import { SessionCookie } from 'routing-controllers-sessions';
    import { Service } from 'typedi';
    @Service() @JsonController()
    export class Controller {
      constructor(private readonly sessions: SessionCookie<object>) {}
      @Post('/esbuild') logIn(@Ctx() ctx: object) { return this.sessions.createSession({}, ctx); }
    }`,
    {
      loader: 'ts',
      format: 'cjs',
      tsconfigRaw: { compilerOptions: { experimentalDecorators: true, emitDecoratorMetadata: true } } as never,
    },
  );
  const module = { exports: {} as { Controller: Function } };
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- that is how a module is run
  new Function('require', 'module', 'exports', code)(require, module, module.exports);
  return module.exports.Controller;
}

function peersOf(name: string): Record<string, string> {
  const manifest = readFileSync(path.join(root, 'node_modules', name, 'package.json'), 'utf8');
  return (JSON.parse(manifest) as { peerDependencies: Record<string, string> }).peerDependencies;
}
