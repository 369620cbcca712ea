import { getMetadataArgsStorage, type RoutingControllersOptions } from 'routing-controllers';
import { routingControllersToSpec } from 'routing-controllers-openapi';
import type { SessionCookie } from 'routing-controllers-sessions';
import { withSessionSecurity } from 'routing-controllers-sessions/openapi';

import type { UserSession } from './user-session.js';

export function openApiDocument(options: RoutingControllersOptions, sessions: SessionCookie<UserSession>): object {
  const info = {
    title: 'Playground of routing-controllers-sessions',
    description: 'Log in with `POST /get_session`; your browser sends the cookie from then on.',
    version: '1.0.0',
  };
  return withSessionSecurity(routingControllersToSpec(getMetadataArgsStorage(), options, { info }), sessions);
}
