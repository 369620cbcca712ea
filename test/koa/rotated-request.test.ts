import 'reflect-metadata';

import {
  InMemoryBackend,
  Principal,
  SessionCookie,
  SessionData,
  type SessionEvents,
} from 'routing-controllers-sessions';

import { cookieOf, visit } from '../support/in-process.js';

@SessionData
class UserSession {
  @Principal() username!: string;
}

describe('after a rotation, in the same request', () => {
  let backend: InMemoryBackend;
  let sessions: SessionCookie<UserSession>;
  let ended: SessionEvents['ended'][];
  let token: string | undefined;

  beforeEach(async () => {
    backend = new InMemoryBackend();
    sessions = new SessionCookie({ dataModel: UserSession, secretKey: 'x'.repeat(32), backend, sweepInterval: 0 });
    ended = [];
    sessions.on('ended', event => ended.push(event));
    ({ token } = await visit(sessions, {}, async ctx => {
      await sessions.createSession({ username: 'ada' }, ctx);
    }));
  });

  test('a log-in ends the session', async () => {
    await visit(sessions, { token }, async ctx => {
      const session = await sessions.getSession(ctx);
      await session!.rotate();
      await sessions.createSession({ username: 'ada' }, ctx);
      expect(ended).toMatchObject([{ id: session!.id, principal: 'ada', reason: 'replaced' }]);
    });
    expect(backend.size).toBe(1);
  });

  test('endSession with its id is a log-out: the cookie is cleared', async () => {
    await visit(sessions, { token }, async ctx => {
      const session = await sessions.getSession(ctx);
      await session!.rotate();
      expect(await sessions.endSession(session!.id, ctx)).toBe(true);
      expect(await sessions.endSession(session!.id, ctx)).toBe(false);
      expect(cookieOf(ctx)).toBe('');
      expect(await sessions.getSession(ctx)).toBeUndefined();
    });
    expect(ended).toMatchObject([{ reason: 'logout' }]);
    expect(backend.size).toBe(0);
  });
});
