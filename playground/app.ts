import path from 'node:path';

import Koa from 'koa';
import Router from 'koa-router';
import { type RoutingControllersOptions, useContainer, useKoaServer } from 'routing-controllers';
import { SessionBackend, SessionCookie, type SessionCookieOptions } from 'routing-controllers-sessions';
import { absolutePath as swaggerUi } from 'swagger-ui-dist';
import { Container } from 'typedi';

import { ApplesController } from './apples-controller.js';
import { AuthController } from './auth-controller.js';
import { DevicesController } from './devices-controller.js';
import { limits } from './limits.js';
import { Live } from './live.js';
import { openApiDocument } from './openapi-document.js';
import { projectRoot } from './project-root.js';
import { reportRefusals } from './report-refusals.js';
import { securityHeaders } from './security-headers.js';
import { SessionController } from './session-controller.js';
import { showExchange } from './show-exchange.js';
import { routeSources } from './sources.js';
import { staticFiles } from './static-files.js';
import { UserSession } from './user-session.js';
import { VaultController } from './vault-controller.js';

export interface PlaygroundOptions extends Pick<SessionCookieOptions<UserSession>, 'secretKey' | 'clock'> {
  backend: SessionBackend;
  /** Where the page of another origin is served, on the same host. */
  otherPort?: number;
}

export interface Playground {
  app: Koa;
  sessions: SessionCookie<UserSession>;
  /** Ends the streams of events, so that a server can close. */
  hangUp(): void;
  close(): Promise<void>;
}

const controllers = [AuthController, SessionController, ApplesController, DevicesController, VaultController];

const page = (file: string) => path.join(projectRoot, 'playground/page', file);
const swagger = (file: string) => path.join(swaggerUi(), file);

/** The whole application, not listening yet. */
export function createPlayground({ backend, otherPort, ...given }: PlaygroundOptions): Playground {
  const { idleTimeout, absoluteTimeout } = limits;
  const sessions = new SessionCookie({
    ...given,
    dataModel: UserSession,
    idleTimeout,
    absoluteTimeout,
    // Devices show when each was last seen.
    touchInterval: 1,
  });
  const live = new Live(sessions);
  useContainer(Container);
  Container.set(SessionBackend, backend);
  Container.set(SessionCookie, sessions);
  Container.set(Live, live);
  const options: RoutingControllersOptions = { controllers, development: false };

  const app = new Koa();
  app.on('error', logError);
  app.use(securityHeaders(otherPort));
  app.use(
    staticFiles({
      '/': page('index.html'),
      '/page.css': page('page.css'),
      '/page.js': page('page.js'),
      '/exchange.js': page('exchange.js'),
      '/icon.svg': page('icon.svg'),
      '/docs': page('docs.html'),
      '/docs/docs.js': page('docs.js'),
      '/docs/swagger-ui.css': swagger('swagger-ui.css'),
      '/docs/swagger-ui-bundle.js': swagger('swagger-ui-bundle.js'),
      '/docs/favicon-32x32.png': swagger('favicon-32x32.png'),
    }),
  );
  app.use(
    plainRoutes(backend, {
      '/openapi.json': openApiDocument(options, sessions),
      '/sources.json': routeSources(controllers),
      '/settings.json': { otherPort },
    }).routes(),
  );
  app.use(showExchange);
  app.use(reportRefusals(sessions, live));
  useKoaServer(app, options);
  return { app, sessions, hangUp: () => live.close(), close: () => sessions.close() };
}

/** A client that goes away in the middle of a stream of events is how those end. */
function logError(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE') console.error(error);
}

/** What needs no controller. */
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
