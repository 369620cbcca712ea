import path from 'node:path';

import Koa from 'koa';
import Router from 'koa-router';
import { type RoutingControllersOptions, useContainer, useKoaServer } from 'routing-controllers';
import { SessionBackend, SessionCookie, type SessionCookieOptions } from 'routing-controllers-sessions';
import { absolutePath as swaggerUi } from 'swagger-ui-dist';
import { Container } from 'typedi';

import { AdminController } from './admin-controller.js';
import { AdminCookie } from './admin-cookie.js';
import { AdminSession } from './admin-session.js';
import { ApplesController } from './apples-controller.js';
import { AuthController } from './auth-controller.js';
import { ClockController } from './clock-controller.js';
import { DevicesController } from './devices-controller.js';
import { EventsController } from './events-controller.js';
import { guide } from './guide.js';
import { limits } from './limits.js';
import { Live } from './live.js';
import { MovableClock } from './movable-clock.js';
import { openApiDocument } from './openapi-document.js';
import { Pace } from './pace.js';
import { plainQuery } from './plain-query.js';
import { projectRoot } from './project-root.js';
import { reportRefusals } from './report-refusals.js';
import { Reports } from './reports.js';
import { securityHeaders } from './security-headers.js';
import { SessionController } from './session-controller.js';
import { showExchange } from './show-exchange.js';
import { routeSources } from './sources.js';
import { staticFiles } from './static-files.js';
import { StoreController } from './store-controller.js';
import { Thief } from './thief.js';
import { ThiefController } from './thief-controller.js';
import { UserSession } from './user-session.js';
import { VaultController } from './vault-controller.js';

export interface PlaygroundOptions extends Pick<SessionCookieOptions<UserSession>, 'secretKey' | 'clock'> {
  backend: SessionBackend;
  /** The name that the page shows for the backend, one of `SESSION_BACKEND`'s; `'memory'`. */
  backendName?: string;
  /** The port of the page of another origin, on the same host. Without it, nothing is framed. */
  otherPort?: number;
  pace?: Pace;
}

export interface Playground {
  app: Koa;
  sessions: SessionCookie<UserSession>;
  admins: AdminCookie;
  /** Ends the streams of events. A server that closes would wait for them. */
  hangUp(): void;
  close(): Promise<void>;
}

const controllers = [
  AuthController,
  SessionController,
  StoreController,
  ThiefController,
  ClockController,
  ApplesController,
  DevicesController,
  VaultController,
  AdminController,
  EventsController,
];

const SCRIPTS = [
  'page',
  'dom',
  'exchange',
  'visitor',
  'events',
  'steps/log-in',
  'steps/session',
  'steps/thief',
  'steps/clock',
  'steps/twenty',
  'steps/slow',
  'steps/devices',
  'steps/vault',
  'steps/admin',
  'steps/other-origin',
];

const page = (file: string) => path.join(projectRoot, 'playground/page', file);
const swagger = (file: string) => path.join(swaggerUi(), file);

/** Makes the whole application. It does not listen yet. */
export function createPlayground(options: PlaygroundOptions): Playground {
  const { backend, backendName = 'memory', otherPort, pace = new Pace(), secretKey, clock: base = Date.now } = options;
  const clock = new MovableClock(base);
  const { idleTimeout, absoluteTimeout } = limits;
  const sessions = new SessionCookie({
    secretKey,
    clock: clock.now,
    dataModel: UserSession,
    idleTimeout,
    absoluteTimeout,
    // The list of devices shows to the second when each was last seen.
    touchInterval: 1,
  });
  const admins = new AdminCookie({
    secretKey,
    clock: clock.now,
    dataModel: AdminSession,
    name: 'admin',
    schemeName: 'AdminCookie',
    idleTimeout: limits.adminIdleTimeout,
    sameSite: 'strict',
    persistent: false,
  });
  const reports = new Reports();
  reports.follow('session', sessions);
  reports.follow('admin', admins);
  const live = new Live(sessions, clock, reports);
  const thief = new Thief();
  useContainer(Container);
  Container.set(SessionBackend, backend);
  Container.set(SessionCookie, sessions);
  Container.set(AdminCookie, admins);
  Container.set(MovableClock, clock);
  Container.set(Pace, pace);
  Container.set(Thief, thief);
  Container.set(Live, live);
  const routing: RoutingControllersOptions = { controllers, development: false };

  const app = new Koa();
  app.on('error', logError);
  app.use(securityHeaders(otherPort));
  app.use(
    staticFiles({
      '/': page('index.html'),
      '/page.css': page('page.css'),
      ...Object.fromEntries(SCRIPTS.map(name => [`/${name}.js`, page(`${name}.js`)])),
      '/icon.svg': page('icon.svg'),
      '/docs': page('docs.html'),
      '/docs/docs.css': page('docs.css'),
      '/docs/docs.js': page('docs.js'),
      '/docs/swagger-ui.css': swagger('swagger-ui.css'),
      '/docs/swagger-ui-bundle.js': swagger('swagger-ui-bundle.js'),
      '/docs/favicon-32x32.png': swagger('favicon-32x32.png'),
    }),
  );
  app.use(guide());
  app.use(
    plainRoutes(backend, {
      '/openapi.json': openApiDocument(routing, [sessions, admins]),
      '/sources.json': routeSources(controllers),
      '/settings.json': { otherPort, backend: backendName },
    }).routes(),
  );
  app.use(reports.middleware);
  app.use(showExchange(reports));
  app.use(thief.middleware);
  app.use(reportRefusals(sessions, live));
  app.use(plainQuery);
  useKoaServer(app, routing);
  return {
    app,
    sessions,
    admins,
    hangUp: () => live.close(),
    close: async () => {
      await admins.close();
      await sessions.close();
    },
  };
}

/** Logs an error. A stream of events always ends by its client going away, which is not one. */
function logError(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE') console.error(error);
}

/** Serves the documents as JSON, and the health of the backend. */
function plainRoutes(backend: SessionBackend, documents: Readonly<Record<string, object>>): Router {
  const router = new Router();
  for (const [url, document] of Object.entries(documents)) {
    router.get(url, ctx => {
      ctx.body = document;
    });
  }
  return router.get('/health', async ctx => {
    try {
      await backend.read('health');
      ctx.body = { status: 'ok' };
    } catch {
      ctx.status = 503;
      ctx.body = { status: 'backend unavailable' };
    }
  });
}
