import 'reflect-metadata';

import { IsString } from 'class-validator';
import Koa from 'koa';
import { InMemoryBackend, SessionCookie, SessionData } from 'routing-controllers-sessions';
import request from 'supertest';

@SessionData
class UserSession {
  @IsString() username!: string;
}

describe('a guard on plain Koa, without routing-controllers', () => {
  test('answers 403 through Koa’s own error handler, which writes the status into the error', async () => {
    const secretKey = '0123456789abcdef0123456789abcdef';
    const sessions = new SessionCookie({ secretKey, dataModel: UserSession, backend: new InMemoryBackend() });
    const app = new Koa();
    app.silent = true;
    app.use(sessions.requireSession());

    // Koa's handler once threw in an assignment to `status`, outside of any request: the process ended.
    const answer = await request(app.callback()).get('/').timeout(5000);
    expect(answer.status).toBe(403);
    expect(answer.text).toBe('Not authenticated');
    expect(answer.headers['vary']).toBe('Cookie');
  });
});
