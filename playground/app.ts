import path from 'node:path';

import Koa from 'koa';
import Router from 'koa-router';
import { type RoutingControllersOptions, useContainer, useKoaServer } from 'routing-controllers';
import { SessionBackend, SessionCookie } from 'routing-controllers-sessions';
import { absolutePath as swaggerUi } from 'swagger-ui-dist';
import { Container } from 'typedi';

import { AuthController } from './auth-controller.js';
import { openApiDocument } from './openapi-document.js';
import { projectRoot } from './project-root.js';
import { securityHeaders } from './security-headers.js';
import { staticFiles } from './static-files.js';
import { UserSession } from './user-session.js';

export interface PlaygroundOptions {
  secretKey: string;
  backend: SessionBackend;
}

export interface Playground {
  app: Koa;
  sessions: SessionCookie<UserSession>;
  close(): Promise<void>;
}

const page = (file: string) => path.join(projectRoot, 'playground/page', file);
const swagger = (file: string) => path.join(swaggerUi(), file);

/** The whole application, not listening yet. */
export function createPlayground({ secretKey, backend }: PlaygroundOptions): Playground {
  const sessions = new SessionCookie({ dataModel: UserSession, secretKey });
  useContainer(Container);
  Container.set(SessionBackend, backend);
  Container.set(SessionCookie, sessions);
  const options: RoutingControllersOptions = { controllers: [AuthController], development: false };

  const app = new Koa();
  app.use(securityHeaders);
  app.use(
    staticFiles({
      '/docs': page('docs.html'),
      '/docs/docs.js': page('docs.js'),
      '/docs/swagger-ui.css': swagger('swagger-ui.css'),
      '/docs/swagger-ui-bundle.js': swagger('swagger-ui-bundle.js'),
      '/docs/favicon-32x32.png': swagger('favicon-32x32.png'),
    }),
  );
  app.use(plainRoutes(backend, openApiDocument(options, sessions)).routes());
  useKoaServer(app, options);
  return { app, sessions, close: () => sessions.close() };
}

/** What needs no controller. */
function plainRoutes(backend: SessionBackend, document: object): Router {
  return new Router()
    .get('/openapi.json', ctx => {
      ctx.body = document;
    })
    .get('/health', async ctx => {
      try {
        await backend.read('health');
        ctx.body = { status: 'ok' };
      } catch {
        ctx.status = 503;
        ctx.body = { status: 'backend unavailable' };
      }
    });
}
