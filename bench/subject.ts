import type { IncomingMessage, ServerResponse } from 'node:http';

/** The framework under a server. The cost of a session is measured against the same routes on the same framework. */
export type Stack = 'routing-controllers' | 'express' | 'fastify';

export type Store =
  | 'none'
  | 'memory'
  | 'memory by promises'
  | 'lmdb'
  | 'sqlite'
  | 'redis'
  | 'redis by ioredis'
  | 'redis with a near-cache'
  | 'postgres'
  | 'mysql'
  | 'cookie';

export function needsRedis(store: Store): boolean {
  return store.startsWith('redis');
}

/** A server that is measured. */
export interface Subject {
  /** Unique, and the same in every version of the benchmark. */
  id: string;
  title: string;
  stack: Stack;
  store: Store;
  /** The name of its module in `servers/`. */
  module: string;
  /** The id of the subject that this one repeats, to measure the noise. */
  controlOf?: string;
  /** The id of the hand-written session on the same store. */
  bound?: string;
}

/** The addresses of the engines. */
export interface Engines {
  redisPort: number | undefined;
  postgres: boolean;
  mysql: boolean;
  /** A temporary folder. */
  folder: string;
  /** What distinguishes the tables of processes that share them. Without it, each process has its own. */
  shared?: string;
}

/** A request listener that is ready, and its controls. */
export interface Opened {
  listener: (request: IncomingMessage, response: ServerResponse) => unknown;
  /** Statements sent to PostgreSQL so far. */
  statements?: () => number;
  /** The driver's own call for the session of a Cookie header. */
  readOf?: (cookie: string) => unknown;
  /** Fills the store with this many more sessions, without their cookies. */
  grow?: (count: number) => Promise<void>;
  close?: () => Promise<void>;
}

/** The exports of a module in `servers/`. */
export interface ServerModule {
  open: (store: Store, engines: Engines) => Promise<Opened>;
}

const rc = 'routing-controllers';

function bound(id: string, what: string, store: Store): Subject {
  return { id, title: `hand-written ${what}`, stack: rc, store, module: 'bound' };
}

function ours(id: string, backend: string, store: Store, bound?: string): Subject {
  const title = `this library, ${backend}`;
  return { id: `ours-${id}`, title, stack: rc, store, module: 'ours', ...(bound !== undefined && { bound }) };
}

/** Every subject, in the order of the tables. */
export const SUBJECTS: readonly Subject[] = [
  { id: 'plain', title: 'no session', stack: rc, store: 'none', module: 'plain' },
  bound('bound', 'HMAC + Map', 'memory'),
  ours('memory', 'InMemory', 'memory', 'bound'),
  bound('bound-lmdb', 'HMAC + LMDB `get`', 'lmdb'),
  ours('lmdb', 'LMDB', 'lmdb', 'bound-lmdb'),
  bound('bound-sqlite', 'HMAC + prepared SELECT of SQLite', 'sqlite'),
  ours('sqlite', 'SQLite', 'sqlite', 'bound-sqlite'),
  bound('bound-redis', 'HMAC + Redis GET', 'redis'),
  ours('redis', 'Redis', 'redis', 'bound-redis'),
  bound('bound-redis-near', 'HMAC + Map before Redis', 'redis with a near-cache'),
  ours('redis-near', 'Redis with a near-cache', 'redis with a near-cache', 'bound-redis-near'),
  ours('ioredis', 'Redis by ioredis', 'redis by ioredis'),
  bound('bound-postgres', 'HMAC + prepared SELECT of PostgreSQL', 'postgres'),
  ours('postgres', 'PostgreSQL', 'postgres', 'bound-postgres'),
  ours('mysql', 'MySQL', 'mysql'),
  { id: 'koa-memory', title: 'koa-session, memory', stack: rc, store: 'memory', module: 'koa-session' },
  { id: 'koa-redis', title: 'koa-session, Redis', stack: rc, store: 'redis', module: 'koa-session' },
  { id: 'iron', title: 'iron-session', stack: rc, store: 'cookie', module: 'iron-session' },
  { id: 'express-plain', title: 'no session', stack: 'express', store: 'none', module: 'express' },
  { id: 'express-memory', title: 'express-session, memory', stack: 'express', store: 'memory', module: 'express' },
  { id: 'express-redis', title: 'express-session, connect-redis', stack: 'express', store: 'redis', module: 'express' },
  { id: 'fastify-plain', title: 'no session', stack: 'fastify', store: 'none', module: 'fastify' },
  { id: 'fastify-memory', title: '@fastify/session, memory', stack: 'fastify', store: 'memory', module: 'fastify' },
  { id: 'fastify-redis', title: '@fastify/session, Redis', stack: 'fastify', store: 'redis', module: 'fastify' },
  { id: 'plain-again', title: 'no session, again', stack: rc, store: 'none', module: 'plain', controlOf: 'plain' },
  { ...ours('memory-again', 'InMemory, again', 'memory'), controlOf: 'ours-memory' },
];
