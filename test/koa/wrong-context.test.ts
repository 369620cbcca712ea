import 'reflect-metadata';

import { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import { InMemoryBackend, SessionConfigurationError, SessionCookie } from 'routing-controllers-sessions';

import { SECRET } from '../support/app.js';
import { contextFor } from '../support/in-process.js';
import { UserSession } from '../support/life.js';

const sessions = new SessionCookie({ secretKey: SECRET, dataModel: UserSession, backend: new InMemoryBackend() });

const req = Object.assign(new IncomingMessage({} as Socket), { url: '/' });
const res = Object.assign(new ServerResponse(req), { req });
Object.assign(req, { res });

const METHODS: [string, string, (ctx: never) => unknown][] = [
  ['createSession', 'createSession(data, ctx)', ctx => sessions.createSession({ username: 'ada' }, ctx)],
  ['getSession', 'getSession(ctx)', ctx => sessions.getSession(ctx)],
  ['endSession', 'endSession(sessionId, ctx)', ctx => sessions.endSession('A'.repeat(22), ctx)],
];

const WRONG: [string, unknown][] = [
  ['nothing', undefined],
  ['null', null],
  ['an empty object', {}],
  ['a string', 'ada'],
  ["Express's request", req],
  ["Express's response", res],
  ['the request of a Koa context', contextFor().req],
  ["routing-controllers' action", { request: req, response: res }],
];

/** A session can be ended where there is no request. */
const isRight = (method: string, wrong: unknown): boolean => method === 'endSession' && wrong === undefined;

describe.each(METHODS)('%s in place of a context', (method, call, act) => {
  test.each(WRONG.filter(([, wrong]) => !isRight(method, wrong)))('%s: says what to write', async (_what, wrong) => {
    const acting = () => new Promise(resolve => resolve(act(wrong as never)));
    await expect(acting()).rejects.toThrow(SessionConfigurationError);
    await expect(acting()).rejects.toThrow(`${method}: `);
    await expect(acting()).rejects.toThrow(`in place of Koa's context; write ${call}`);
  });
});
