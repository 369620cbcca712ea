import Koa from 'koa';
import {
  type Action,
  type ClassConstructor,
  type IocAdapter,
  type RoutingControllersOptions,
  useContainer,
  useKoaServer,
} from 'routing-controllers';
import { SessionBackend, SessionCookie, type SessionCookieOptions } from 'routing-controllers-sessions';
import { Container, type ContainerInstance } from 'typedi';

import { Client } from './client.js';
import { Clock } from './clock.js';
import { HttpServer } from './http-server.js';
import { RecordingBackend } from './recording-backend.js';

/** 32 bytes, as production wants them. */
export const SECRET = '0123456789abcdef0123456789abcdef';

export interface AppSettings<T extends object> {
  controllers: Function[];
  dataModel: new () => T;
  /** Replaces options of the kit: its secret, its clock, a deadline that no busy machine exceeds. */
  cookie?: Partial<SessionCookieOptions<T>>;
  /** Default: one of its own that records its calls. */
  backend?: SessionBackend;
  /** Default: one of its own. Shared by the nodes of one test. */
  clock?: Clock;
  /** Further options of routing-controllers; a function gets the cookie service. */
  server?: Partial<RoutingControllersOptions> | ((sessions: SessionCookie<T>) => Partial<RoutingControllersOptions>);
  /** Further services, a second cookie say; they may ask for `clock` and SessionBackend. */
  register?: (container: ContainerInstance, clock: Clock) => void;
  /** A container of the application's own in place of typedi's. */
  ioc?: (sessions: SessionCookie<T>, backend: SessionBackend) => IocAdapter;
  /** Plain Koa middleware, put before the controllers. */
  before?: (koa: Koa, sessions: SessionCookie<T>) => void;
}

export interface TestApp<T extends object> {
  koa: Koa;
  url: string;
  container: ContainerInstance;
  sessions: SessionCookie<T>;
  backend: SessionBackend;
  clock: Clock;
  /** What Koa reported as an error of the application. */
  errors: unknown[];
  /** A new cookie jar; with cookies in it that `signIn` made, if given. */
  client(cookies?: string): Client;
}

const containers = new WeakMap<object, IocAdapter>();
const open: { server: HttpServer; sessions: { close(): Promise<void> } }[] = [];
let count = 0;

/**
 * An application that listens on a free port of this machine, with a container of its own: several of them live side by
 * side in one test file, and close by themselves after its last test.
 */
export async function startApp<T extends object>(settings: AppSettings<T>): Promise<TestApp<T>> {
  const { controllers, dataModel, clock = new Clock(), backend = new RecordingBackend() } = settings;
  const koa = new Koa();
  const container = Container.of(`test application ${++count}`);
  const sessions = new SessionCookie({
    secretKey: SECRET,
    dataModel,
    clock: clock.now,
    // A machine that is busy for two seconds, the default, is no store that fails.
    backendTimeout: 60,
    ...settings.cookie,
  });
  // The types of a scoped container, unlike those of Container itself, know no abstract class.
  container.set(SessionBackend as unknown as new () => SessionBackend, backend);
  container.set(SessionCookie, sessions);
  settings.register?.(container, clock);

  const { server: given = {} } = settings;
  const options = typeof given === 'function' ? given(sessions) : given;
  for (const type of [...controllers, ...((options.middlewares as Function[] | undefined) ?? [])])
    if (!container.has(type as new () => object)) container.set({ id: type, type: type as new () => object });
  serveFrom(settings.ioc?.(sessions, backend) ?? container, koa);

  const errors: unknown[] = [];
  koa.on('error', error => errors.push(error));
  settings.before?.(koa, sessions);
  useKoaServer(koa, { ...options, controllers });

  const server = await HttpServer.start(koa.callback());
  open.push({ server, sessions });
  const url = `http://127.0.0.1:${server.port}`;
  return { koa, url, container, sessions, backend, clock, errors, client: cookies => new Client(url, cookies) };
}

/** routing-controllers has one container for all applications; this one answers each request from its own application's. */
function serveFrom(container: IocAdapter, koa: Koa): void {
  containers.set(koa, container);
  useContainer({
    get<S>(type: ClassConstructor<S>, action?: Action): S {
      const app = action ? (action.context as Koa.Context).app : koa;
      return (containers.get(app) ?? container).get(type, action);
    },
  });
}

afterAll(async () => {
  for (const app of open.splice(0)) {
    await app.server.close();
    await app.sessions.close();
  }
});
