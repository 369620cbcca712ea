import 'reflect-metadata';

import { inspect } from 'node:util';

import type { Context } from 'koa';
import { InMemoryBackend, SessionCookie, SessionData } from 'routing-controllers-sessions';

import { SECRET } from '../support/app.js';
import { contextFor, cookieOf } from '../support/in-process.js';

@SessionData
class UserSession {
  username = 'ada';
  visits = 0;
}

const backend = new InMemoryBackend();
const sessions = new SessionCookie({ dataModel: UserSession, secretKey: SECRET, backend, sweepInterval: 0 });

/** What is on the objects of a request themselves, by name. */
function propertiesOf({ req, res, request, response, state, ...ctx }: Context): Map<string, unknown> {
  const objects = Object.entries({ ctx, req, res, request, response, state: state as object });
  const properties = objects.flatMap(([name, object]) =>
    Reflect.ownKeys(object).map(
      key => [`${name}.${String(key)}`, (object as Record<PropertyKey, unknown>)[key]] as const,
    ),
  );
  return new Map(properties);
}

/** What the library put on the objects of a request, with the listeners among it, as the most talkative of logs shows it. */
async function attached(token: string, action: (ctx: Context) => Promise<unknown>): Promise<[string, string][]> {
  const ctx = contextFor({ token });
  const before = propertiesOf(ctx);
  await sessions.requireSession({ autoError: false })(ctx, async () => {
    await action(ctx);
  });
  return [...propertiesOf(ctx)]
    .filter(([name, value]) => before.get(name) !== value || name.endsWith('._events'))
    .map(([name, value]) => [name, inspect(value, { showHidden: true, depth: 8, customInspect: false })]);
}

test.each<[string, (ctx: Context) => Promise<unknown>]>([
  ['looks at its session', ctx => sessions.getSession(ctx)],
  ['changes it', async ctx => (await sessions.getSession(ctx))!.data.visits++],
  ['runs on its own', ctx => Promise.resolve(ctx.ip)],
])(
  'ID-8: what the library attaches to a request that %s shows neither its token nor a hash of it',
  async (_, action) => {
    const loggedIn = contextFor();
    const { id } = await sessions.createSession({ username: 'ada', visits: 0 }, loggedIn);
    const token = cookieOf(loggedIn)!;
    const { proof } = (await backend.read(id))!;
    const shown = await attached(token, action);
    expect(shown.map(([name]) => name)).toContainEqual(expect.stringContaining('routing-controllers-sessions'));
    const parts = [token, proof, ...token.split('.').slice(1)];
    expect(shown.map(([name, text]) => [name, parts.filter(part => text.includes(part))])).toEqual(
      shown.map(([name]) => [name, []]),
    );
  },
);
