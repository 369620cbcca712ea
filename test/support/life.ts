import { Agent, type OutgoingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';

import { IsInt, IsObject, IsOptional, IsString } from 'class-validator';
import type { Context } from 'koa';
import { All, Ctx, JsonController, Param } from 'routing-controllers';
import {
  CurrentSession,
  Principal,
  RequireSession,
  type Session,
  type SessionBackend,
  SessionCookie,
  SessionData,
  type SessionEventName,
  type SessionRecord,
} from 'routing-controllers-sessions';

import { type AppSettings, startApp, type TestApp } from './app.js';
import { RecordingBackend } from './recording-backend.js';
import { parseSetCookie } from './set-cookie-parts.js';

/** The session data of the tests of a session's life. */
@SessionData
export class UserSession {
  @IsString() @Principal() username!: string;
  @IsOptional() @IsInt() visits?: number;
  @IsOptional() @IsObject() extra?: object;
}

/** What a route of the application under test does. A test names as many as it needs. */
export type Act = (
  ctx: Context,
  session: Session<UserSession> | undefined,
  sessions: SessionCookie<UserSession>,
) => unknown;

class Acts extends Map<string, Act> {}

/** Every act of a test behind each kind of guard: `/guarded/NAME`, `/optional/NAME`, `/open/NAME`, by any method. */
@JsonController()
class LifeController {
  constructor(
    private readonly acts: Acts,
    private readonly sessions: SessionCookie<UserSession>,
  ) {}

  @All('/guarded/:act')
  @RequireSession()
  guarded(@Param('act') act: string, @Ctx() ctx: Context, @CurrentSession() session: Session<UserSession>) {
    return this.#run(act, ctx, session);
  }

  @All('/optional/:act')
  @RequireSession({ autoError: false })
  optional(@Param('act') act: string, @Ctx() ctx: Context, @CurrentSession() session?: Session<UserSession>) {
    return this.#run(act, ctx, session);
  }

  @All('/fresh/:act')
  @RequireSession({ maxAuthAge: 300 })
  fresh(@Param('act') act: string, @Ctx() ctx: Context, @CurrentSession() session: Session<UserSession>) {
    return this.#run(act, ctx, session);
  }

  @All('/open/:act')
  open(@Param('act') act: string, @Ctx() ctx: Context) {
    return this.#run(act, ctx, undefined);
  }

  async #run(name: string, ctx: Context, session: Session<UserSession> | undefined): Promise<unknown> {
    const act = this.acts.get(name);
    if (!act) throw new Error(`the test has no act ${name}`);
    return (await act(ctx, session, this.sessions)) ?? {};
  }
}

const standardActs: Record<string, Act> = {
  who: (_ctx, session) => ({ id: session?.id ?? null, data: session?.data ?? null }),
  login: async (ctx, _session, sessions) => {
    const session = await sessions.createSession({ username: String(ctx.query['user'] ?? 'ada') }, ctx);
    return { id: session.id };
  },
  logout: (_ctx, session) => session?.end(),
  visit: (_ctx, session) => void (session!.data.visits = (session!.data.visits ?? 0) + 1),
  rotate: (_ctx, session) => session?.rotate(),
  hello: () => ({ message: 'hello' }),
};

/** Hands out what a test planted in place of a record, and fails where a test says so. */
export class PoisonedBackend extends RecordingBackend {
  readonly planted = new Map<string, unknown>();
  readonly failing = new Set<string>();

  override async create(record: SessionRecord) {
    this.#failIf('create');
    return super.create(record);
  }

  override async read(id: string) {
    const record = await super.read(id);
    this.#failIf('read');
    return this.planted.has(id) ? (this.planted.get(id) as SessionRecord) : record;
  }

  override async update(record: SessionRecord, expectedVersion: number) {
    this.#failIf('update');
    return super.update(record, expectedVersion);
  }

  override async delete(id: string) {
    this.#failIf('delete');
    return [this.planted.delete(id), await super.delete(id)].includes(true);
  }

  #failIf(operation: string): void {
    if (this.failing.has(operation)) throw new Error(`ECONNREFUSED while ${operation} to db.internal:5432`);
  }
}

export interface SeenEvent {
  name: SessionEventName;
  id?: string;
  reason?: string;
  [detail: string]: unknown;
}

export interface Life<B extends SessionBackend = PoisonedBackend> extends TestApp<UserSession> {
  backend: B;
  acts: Map<string, Act>;
  /** All events so far. */
  events: SeenEvent[];
  /** What happened under a name, as `reason` or `''`. */
  reasons(name: SessionEventName): string[];
}

export const EVENT_NAMES = [
  'created',
  'rotated',
  'ended',
  'endedAll',
  'expired',
  'rejected',
  'conflict',
  'unavailable',
  'swept',
  'clock',
] as const satisfies readonly SessionEventName[];

export type LifeSettings<B extends SessionBackend = PoisonedBackend> = Partial<
  Omit<AppSettings<UserSession>, 'controllers' | 'dataModel' | 'register'>
> & {
  backend?: B;
  /** Whether the service is made, and the server set up, with NODE_ENV=production. */
  production?: boolean;
};

/** An application for the life of sessions: its controller does whatever the test says. */
export async function startLife<B extends SessionBackend = PoisonedBackend>({
  production = false,
  ...settings
}: LifeSettings<B> = {}): Promise<Life<B>> {
  const acts = new Acts(Object.entries(standardActs));
  const backend = settings.backend ?? (new PoisonedBackend() as SessionBackend as B);
  const start = () =>
    startApp({
      ...settings,
      backend,
      controllers: [LifeController],
      dataModel: UserSession,
      register: container => container.set(Acts, acts),
    });
  const app = await (production ? inProduction(start) : start());
  const events: SeenEvent[] = [];
  for (const name of EVENT_NAMES) app.sessions.on(name, event => events.push({ name, ...event }));
  const reasons = (name: SessionEventName) =>
    events.filter(event => event.name === name).map(({ reason = '' }) => reason);
  return { ...app, backend, acts, events, reasons };
}

/** Runs with NODE_ENV=production until the result is there. */
export async function inProduction<R>(run: () => R | Promise<R>): Promise<R> {
  const before = process.env['NODE_ENV'];
  process.env['NODE_ENV'] = 'production';
  try {
    return await run();
  } finally {
    process.env['NODE_ENV'] = before;
  }
}

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  setCookies: string[];
  text: string;
  /** The parsed body, where it is JSON. */
  body: Record<string, unknown>;
}

const agent = new Agent({ keepAlive: true, maxSockets: 16 });

export interface Ask {
  method?: string;
  cookie?: string;
  headers?: OutgoingHttpHeaders;
  body?: string;
}

/** One bare request: no jar, no header but those given. For many of them, and for odd ones. */
export function ask(app: { url: string }, path: string, { method = 'GET', cookie, headers, body }: Ask = {}) {
  return new Promise<Answer>((resolve, reject) => {
    const all = { ...headers, ...(cookie === undefined ? {} : { cookie }) };
    const sent = request(app.url + path, { agent, method, headers: all }, response => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('error', reject).on('end', () => resolve(answerOf(response.statusCode ?? 0, response.headers, text)));
    });
    sent.on('error', reject).end(body);
  });
}

function answerOf(status: number, headers: Answer['headers'], text: string): Answer {
  const isJson = String(headers['content-type']).startsWith('application/json') && text !== '';
  const cookies = headers['set-cookie'];
  return {
    status,
    headers,
    text,
    setCookies: Array.isArray(cookies) ? cookies : [],
    body: isJson ? (JSON.parse(text) as Record<string, unknown>) : {},
  };
}

/** One request written byte by byte, for headers that no client sends. Answers the whole response as text. */
export function askRaw(app: { url: string }, lines: readonly string[]): Promise<string> {
  const { hostname, port, host } = new URL(app.url);
  const [requestLine = '', ...headers] = lines;
  const hasHost = headers.some(line => /^host:/i.test(line));
  const all = [requestLine, ...(hasHost ? [] : [`Host: ${host}`]), ...headers, 'Connection: close', '', ''];
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(Number(port), hostname, () => socket.write(all.join('\r\n'), 'latin1'));
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk));
    socket.on('end', () => resolve(text)).on('error', reject);
  });
}

/** The status of what {@link askRaw} answered. */
export function statusOf(response: string): number {
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(response)?.[1]);
}

/** `name=token`, as a client sends back what an answer set; the answer must set exactly one cookie. */
export function cookieOf(answer: Answer): string {
  expect(answer.setCookies).toHaveLength(1);
  const { name, value } = parseSetCookie(answer.setCookies[0]!);
  return `${name}=${value}`;
}

/** Logs in, and answers the Cookie header and the public id. */
export async function logIn(app: { url: string }, user = 'ada', cookie?: string) {
  const answer = await ask(app, `/open/login?user=${encodeURIComponent(user)}`, {
    method: 'POST',
    ...(cookie === undefined ? {} : { cookie }),
  });
  expect(answer.status).toBe(200);
  return { cookie: cookieOf(answer), id: answer.body['id'] as string };
}

/** Runs a task for each item, so many at once. */
export async function inParallel<I>(
  items: Iterable<I>,
  task: (item: I) => Promise<unknown>,
  width = 16,
): Promise<void> {
  const queue = items[Symbol.iterator]();
  const worker = async () => {
    for (let next = queue.next(); next.done !== true; next = queue.next()) await task(next.value);
  };
  await Promise.all(Array.from({ length: width }, worker));
}
