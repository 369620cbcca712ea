import 'reflect-metadata';

import { type ClientHttp2Session, connect, createServer, type Http2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';

import Koa, { type Context } from 'koa';
import { InMemoryBackend, SessionCookie } from 'routing-controllers-sessions';

import { SECRET } from '../support/app.js';
import { Gate } from '../support/gate.js';
import { UserSession } from '../support/life.js';

/** Where an action waits while its client goes away. */
let arrived = new Gate();
let released = new Gate();
let gone = new Gate();

const backend = new InMemoryBackend();
const sessions = new SessionCookie({
  dataModel: UserSession,
  secretKey: SECRET,
  backend,
  sweepInterval: 0,
  secure: true,
});

const acts: Record<string, (ctx: Context) => Promise<unknown>> = {
  login: ctx => sessions.createSession({ username: 'ada' }, ctx),
  rotate: () => sessions.current()!.rotate(),
  logout: () => sessions.current()!.end(),
  who: () => Promise.resolve(),
};

let outcome: unknown;
/** Resolves when the handling of a request is over. */
let over = new Gate();

async function run(ctx: Context): Promise<void> {
  const [, when, act = ''] = ctx.path.split('/');
  if (when === 'after') await hold(ctx);
  await acts[act]!(ctx);
  if (when === 'before') await hold(ctx);
  ctx.body = { id: sessions.current()?.id };
}

/** Waits until the stream has closed, where the request is one that is given up. */
async function hold(ctx: Context): Promise<void> {
  ctx.res.once('close', () => gone.open());
  arrived.open();
  await released.opened;
}

let server: Http2Server;
let client: ClientHttp2Session;

beforeAll(async () => {
  const koa = new Koa();
  koa.on('error', () => undefined);
  koa.use(async ctx => {
    try {
      await sessions.requireSession({ autoError: false })(ctx, () => run(ctx));
    } catch (error) {
      outcome = error;
    } finally {
      over.open();
    }
  });
  const handle = koa.callback();
  server = createServer((req, res) => void handle(req as never, res as never));
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

afterAll(async () => {
  await new Promise<void>(resolve => client.close(resolve));
  await new Promise(resolve => server.close(resolve));
});

beforeEach(async () => {
  await sessions.endSessions('ada');
  [arrived, released, gone, over] = [new Gate(), new Gate(), new Gate(), new Gate()];
  outcome = undefined;
});

interface Answer {
  cookie: string | undefined;
  id: unknown;
}

function send(path: string, cookie?: string) {
  return client.request({ ':path': path, ':method': 'GET', ...(cookie === undefined ? {} : { cookie }) });
}

function ask(path: string, cookie?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = send(path, cookie);
    let body = '';
    let set: string | undefined;
    stream.on('response', headers => (set = headers['set-cookie']?.[0]?.split(';')[0]));
    stream.setEncoding('utf8').on('data', (text: string) => (body += text));
    stream.on('error', reject).on('end', () => {
      const { id } = JSON.parse(body) as { id?: string };
      resolve({ cookie: set, id });
    });
  });
}

/** A request whose stream the client resets while its action runs. Resolves when the action is over, too. */
async function giveUp(path: string, cookie?: string): Promise<void> {
  const stream = send(path, cookie);
  stream.on('error', () => undefined);
  await arrived.opened;
  stream.close(8);
  await gone.opened;
  released.open();
  await over.opened;
  // The session is ended beside the request.
  await new Promise(resolve => setImmediate(resolve));
}

describe('an HTTP/2 stream that is reset while its action runs', () => {
  test('a request that is answered has its session, as on HTTP/1.1', async () => {
    const { cookie } = await ask('/now/login');
    expect((await ask('/now/who', cookie)).id).toEqual(expect.any(String));
    const rotated = await ask('/now/rotate', cookie);
    expect((await ask('/now/who', cookie)).id).toBeUndefined();
    expect((await ask('/now/who', rotated.cookie)).id).toEqual(expect.any(String));
  });

  test.each(['before', 'after'])('a log-in (%s the reset), five times: no session of nobody', async when => {
    for (let time = 0; time < 5; time++) {
      [arrived, released, gone, over] = [new Gate(), new Gate(), new Gate(), new Gate()];
      await giveUp(`/${when}/login`);
      expect(await backend.listByPrincipal('ada')).toEqual([]);
    }
  });

  test.each(['before', 'after'])(
    'a rotation (%s the reset): the session is ended, and the old token is dead',
    async when => {
      for (let time = 0; time < 5; time++) {
        const { cookie } = await ask('/now/login');
        [arrived, released, gone, over] = [new Gate(), new Gate(), new Gate(), new Gate()];
        await giveUp(`/${when}/rotate`, cookie);
        expect(await backend.listByPrincipal('ada')).toEqual([]);
        expect((await ask('/now/who', cookie)).id).toBeUndefined();
      }
    },
  );

  test.each(['before', 'after'])('a log-out (%s the reset): the session is ended', async when => {
    const { cookie } = await ask('/now/login');
    [arrived, released, gone, over] = [new Gate(), new Gate(), new Gate(), new Gate()];
    await giveUp(`/${when}/logout`, cookie);
    expect(outcome).toBeUndefined();
    expect(await backend.listByPrincipal('ada')).toEqual([]);
  });

  test('a request that changes nothing: the session goes on', async () => {
    const { cookie } = await ask('/now/login');
    [arrived, released, gone, over] = [new Gate(), new Gate(), new Gate(), new Gate()];
    await giveUp('/before/who', cookie);
    expect((await ask('/now/who', cookie)).id).toEqual(expect.any(String));
  });
});
