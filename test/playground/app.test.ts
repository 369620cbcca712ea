import 'reflect-metadata';

import { InMemoryBackend } from 'routing-controllers-sessions';
import request from 'supertest';
import { Container } from 'typedi';

import { createPlayground } from '../../playground/app.js';
import { validateDocument } from '../openapi/validate-document.js';

const secretKey = '0123456789abcdef0123456789abcdef';

function playground(backend = new InMemoryBackend()) {
  Container.reset();
  return createPlayground({ secretKey, backend });
}

function agent() {
  return request.agent(playground().app.callback());
}

describe("the seed's routes", () => {
  test('log in, let in, log out, and refuse from then on', async () => {
    const client = agent();
    const refusal = { name: 'SessionRequiredError', message: 'Not authenticated', code: 'ERR_SESSION_REQUIRED' };
    expect((await client.get('/secure').expect(403)).body).toEqual(refusal);
    expect((await client.post('/get_session?username=ada').expect(200)).body).toEqual({
      message: 'You now have a session',
      user: { username: 'ada' },
    });
    expect((await client.get('/secure').expect(200)).body).toEqual({
      message: 'You are secure',
      user: { username: 'ada' },
    });
    expect((await client.post('/leave_session').expect(200)).body).toEqual({
      message: "You now don't have a session",
      user: { username: 'ada' },
    });
    expect((await client.get('/secure').expect(403)).body).toEqual(refusal);
    expect((await client.post('/leave_session').expect(403)).body).toEqual(refusal);
  });

  test.each(['/get_session', '/get_session?username='])('answer %s with 400 and no cookie', async url => {
    const answer = await agent().post(url).expect(400);
    expect(answer.headers['set-cookie']).toBeUndefined();
    expect(answer.body).toMatchObject({ name: 'ParamRequiredError' });
  });
});

describe('/openapi.json', () => {
  test('is valid, and marks the guarded routes', async () => {
    const { body } = await agent().get('/openapi.json').expect(200).expect('Content-Type', /json/);
    await validateDocument(body);
    expect(body.components.securitySchemes).toEqual({
      SessionCookie: { type: 'apiKey', in: 'cookie', name: 'session' },
      AdminCookie: { type: 'apiKey', in: 'cookie', name: 'admin' },
    });
    expect(body.paths['/secure'].get.security).toEqual([{ SessionCookie: [] }]);
    expect(body.paths['/get_session'].post.security).toEqual([{}, { SessionCookie: [] }]);
    expect(body.paths['/leave_session'].post.security).toEqual([{ SessionCookie: [] }]);
    expect(body.paths['/admin'].get.security).toEqual([{ AdminCookie: [] }]);
  });
});

describe('/docs', () => {
  test('is Swagger UI from this server, under a policy that allows nothing inline and no other origin', async () => {
    const client = agent();
    const { text, headers } = await client.get('/docs').expect(200).expect('Content-Type', /html/);
    const policy = String(headers['content-security-policy']);
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
    expect(text).not.toMatch(/<script(?![^>]* src=)|<style|\sstyle=|\son\w+=/);
    const links = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link!);
    expect(links).toHaveLength(6);
    for (const link of links) {
      expect(link).toMatch(/^\/(docs\/.*)?$/);
      await client.get(link).expect(200);
    }
  });

  test.each(['/docs/../package.json', '/docs/index.html', '/package.json', '/docs/%2e%2e/app.ts'])(
    'does not serve %s',
    url => agent().get(url).expect(404),
  );
});

describe('/health', () => {
  test('is 200 while the backend answers', async () => {
    expect((await agent().get('/health').expect(200)).body).toEqual({ status: 'ok' });
  });

  test('is 503 when it does not', async () => {
    class DeadBackend extends InMemoryBackend {
      override read(): Promise<never> {
        return Promise.reject(new Error('connection refused'));
      }
    }
    const { body } = await request(playground(new DeadBackend()).app.callback()).get('/health').expect(503);
    expect(body).toEqual({ status: 'backend unavailable' });
  });
});
