import type { SessionInput } from '../model/session-input.js';
import { serviceOf, type SessionCookie } from '../koa/session-cookie.js';

/**
 * A Cookie header that is logged in, without a log-in route: for tests of an application.
 *
 * ```ts
 * await request(app).get('/secure').set('Cookie', await signIn(Container.get(SessionCookie), { username: 'ada' })).expect(200);
 * ```
 *
 * @throws InvalidSessionDataError when data breaks its model
 */
export async function signIn<T extends object>(cookie: SessionCookie<T>, data: SessionInput<T>): Promise<string> {
  const service = serviceOf(cookie);
  const token = await service.mintFor(data);
  const { secure, plain } = service.settings.setCookie;
  // Both names if there are two, so that any host in the test's URL works.
  return [...new Set([secure.name, plain.name])].map(name => `${name}=${token}`).join('; ');
}
