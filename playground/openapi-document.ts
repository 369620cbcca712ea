import { getMetadataArgsStorage, type RoutingControllersOptions } from 'routing-controllers';
import { routingControllersToSpec } from 'routing-controllers-openapi';
import { withSessionSecurity } from 'routing-controllers-sessions/openapi';

export function openApiDocument(
  options: RoutingControllersOptions,
  cookies: Parameters<typeof withSessionSecurity>[1],
): object {
  const info = {
    title: 'Playground of routing-controllers-sessions',
    description: 'Log in with `POST /get_session`; your browser sends the cookie from then on.',
    version: '1.0.0',
  };
  return withSessionSecurity(routingControllersToSpec(getMetadataArgsStorage(), options, { info }), cookies);
}
