import 'reflect-metadata';

import { InMemoryBackend, SessionCookie } from 'routing-controllers-sessions';

import { SECRET } from '../support/app.js';
import { inEnvironment } from '../support/environment.js';
import { contextFor } from '../support/in-process.js';
import { UserSession } from '../support/life.js';

const REFUSALS = [
  ['without a session', 'ERR_SESSION_REQUIRED', 'GET', {}],
  ['of a page of another origin', 'ERR_SESSION_CROSS_ORIGIN', 'POST', { 'sec-fetch-site': 'cross-site' }],
] as const;

/** The error with which a guard refuses a request. */
async function refusalIn(environment: string, method: string, headers: Record<string, string>): Promise<Error> {
  const options = { secretKey: SECRET, dataModel: UserSession, backend: new InMemoryBackend() };
  const guard = await inEnvironment(environment, () => new SessionCookie(options).requireSession());
  const answering = Promise.resolve(guard(contextFor({ method, headers }), () => Promise.resolve()));
  return answering.then(
    () => {
      throw new Error('It was not refused');
    },
    (refusal: unknown) => refusal as Error,
  );
}

describe.each(REFUSALS)('the error of a request %s', (_, code, method, headers) => {
  it('has no places in production, where nobody sees them and making them takes longer than the answer', async () => {
    const { stackTraceLimit } = Error;
    const refusal = await refusalIn('production', method, headers);
    expect(refusal).toMatchObject({ code });
    expect(refusal.stack).toBe(`${refusal.constructor.name}: ${refusal.message}`);
    expect(Error.stackTraceLimit).toBe(stackTraceLimit);
  });

  it('has them in development, for the answer to show', async () => {
    const refusal = await refusalIn('development', method, headers);
    expect(refusal).toMatchObject({ code });
    expect(refusal.stack).toMatch(/\n\s+at /);
  });
});
