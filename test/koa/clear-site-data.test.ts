import 'reflect-metadata';

import { type EndOptions, SessionConfigurationError } from 'routing-controllers-sessions';

import { ask, logIn, startLife } from '../support/life.js';

describe('session.end({ clearSiteData })', () => {
  test('tells the browser what to clear, and clears the cookie as always', async () => {
    const life = await startLife();
    life.acts.set('leave', (_ctx, session) => session?.end({ clearSiteData: ['cache', 'storage'] }));
    const { cookie } = await logIn(life);
    const answer = await ask(life, '/guarded/leave', { method: 'POST', cookie });
    expect(answer.headers['clear-site-data']).toBe('"cache", "storage"');
    expect(answer.setCookies).toHaveLength(1);
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(403);
  });

  test('without it nothing is cleared, least of all the cookies of the whole site', async () => {
    const life = await startLife();
    life.acts.set('none', (_ctx, session) => session?.end({ clearSiteData: [] }));
    for (const act of ['logout', 'none']) {
      const { cookie } = await logIn(life);
      const answer = await ask(life, `/guarded/${act}`, { method: 'POST', cookie });
      expect(answer.headers['clear-site-data']).toBeUndefined();
    }
  });

  test.each<[unknown, RegExp]>([
    [['cookies'], /'cookies' would clear those of the whole site/],
    [['cache', '"*"'], /write an array of 'cache' and 'storage'/],
    ['cache', /write an array/],
  ])('refuses %p, and the session goes on', async (clearSiteData, message) => {
    const life = await startLife();
    let error: unknown;
    life.acts.set('leave', async (_ctx, session) => {
      error = await session?.end({ clearSiteData } as EndOptions).catch((reason: unknown) => reason);
    });
    const { cookie } = await logIn(life);
    const answer = await ask(life, '/guarded/leave', { method: 'POST', cookie });
    expect(error).toBeInstanceOf(SessionConfigurationError);
    expect((error as Error).message).toMatch(message);
    expect(answer.headers['clear-site-data']).toBeUndefined();
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(200);
  });
});
