import 'reflect-metadata';

import path from 'node:path';
import { inspect } from 'node:util';

import { LmdbBackend } from '../../../src/backends/lmdb/backend.js';
import { MovingBackend } from '../../../src/backends/moving/backend.js';
import { SessionCookie } from '../../../src/koa/index.js';
import { contextFor, cookieOf, visit } from '../../support/in-process.js';
import { modelOf } from './build.js';
import { NEW } from './new-build.js';
import { OLD } from './old-build.js';

/** A request to a build: with a session's cookie, or to log in. */
export interface BuildCall {
  row: string;
  token?: string;
  /** Changes one property. */
  note?: string;
}

export interface BuildReply {
  /** `opens`, `503`, `logged out`, or what failed. */
  outcome: string;
  /** The cookie that the client has now. */
  token: string;
  data?: unknown;
}

const [name = '', folder = ''] = process.argv.slice(2);
const builds = name === 'old' ? OLD : NEW;

const stores = new Map<string, LmdbBackend>();
const services = new Map<string, SessionCookie<object>>();

function store(row: string, side: string): LmdbBackend {
  const place = path.join(folder, String(Object.keys(OLD).indexOf(row)), side);
  let backend = stores.get(place);
  if (!backend) stores.set(place, (backend = new LmdbBackend({ path: place })));
  return backend;
}

function serviceOf(row: string): SessionCookie<object> {
  const build = builds[row];
  if (!build) throw new Error(`the ${name} build has no row ${row}`);
  let service = services.get(row);
  if (!service) {
    const [to, from] = build.stores ?? ['old'];
    const backend =
      from === undefined ? store(row, to) : new MovingBackend({ from: store(row, from), to: store(row, to) });
    const secretKey = (build.secrets ?? ['old']).map(secret => secret.padEnd(32, '.'));
    service = new SessionCookie({
      dataModel: modelOf(build),
      secretKey,
      backend,
      sweepInterval: 0,
      backendTimeout: 60,
    });
    service.on('unavailable', () => undefined);
    services.set(row, service);
  }
  return service;
}

async function answer({ row, token, note }: BuildCall): Promise<BuildReply> {
  const service = serviceOf(row);
  if (token === undefined) {
    const ctx = contextFor();
    const data = builds[row]?.logIn ?? {};
    await service.createSession(data, ctx);
    return { outcome: 'opens', token: cookieOf(ctx) ?? '' };
  }
  let data: unknown;
  const reply = await visit(service, { token }, async ctx => {
    const session = await service.getSession(ctx);
    if (!session) return;
    if (note !== undefined) (session.data as { note?: string }).note = note;
    data = JSON.parse(JSON.stringify(session.data)) as unknown;
  });
  const { status } = (reply.error ?? {}) as { status?: number };
  const outcome = reply.error
    ? status === undefined
      ? inspect(reply.error)
      : String(status)
    : data === undefined
      ? 'logged out'
      : 'opens';
  return { outcome, token: reply.token ?? token, data };
}

process.on('message', (call: BuildCall) => {
  answer(call)
    .catch((error: unknown): BuildReply => ({ outcome: String(error), token: '' }))
    .then(reply => process.send?.(reply))
    .catch(() => process.disconnect());
});
