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
}

/** The addresses of the engines. */
export interface Engines {
  redisPort: number | undefined;
  postgres: boolean;
  mysql: boolean;
  /** A temporary folder. */
  folder: string;
}

/** A request listener that is ready, and its controls. */
export interface Opened {
  listener: (request: IncomingMessage, response: ServerResponse) => unknown;
  /** Statements sent to PostgreSQL so far. */
  statements?: () => number;
  /** Fills the store with this many more sessions, without their cookies. */
  grow?: (count: number) => Promise<void>;
  close?: () => Promise<void>;
}

/** The exports of a module in `servers/`. */
export interface ServerModule {
  open: (store: Store, engines: Engines) => Promise<Opened>;
}

const rc = 'routing-controllers';

/** Every subject, in the order of the tables. */
export const SUBJECTS: readonly Subject[] = [
  { id: 'plain', title: 'no session', stack: rc, store: 'none', module: 'plain' },
  { id: 'bound', title: 'hand-written HMAC + Map', stack: rc, store: 'memory', module: 'bound' },
  { id: 'ours-memory', title: 'this library, InMemory', stack: rc, store: 'memory', module: 'ours' },
  { id: 'ours-lmdb', title: 'this library, LMDB', stack: rc, store: 'lmdb', module: 'ours' },
  { id: 'ours-sqlite', title: 'this library, SQLite', stack: rc, store: 'sqlite', module: 'ours' },
  { id: 'ours-redis', title: 'this library, Redis', stack: rc, store: 'redis', module: 'ours' },
  {
    id: 'ours-redis-near',
    title: 'this library, Redis with a near-cache',
    stack: rc,
    store: 'redis with a near-cache',
    module: 'ours',
  },
  { id: 'ours-ioredis', title: 'this library, Redis by ioredis', stack: rc, store: 'redis by ioredis', module: 'ours' },
  { id: 'ours-postgres', title: 'this library, PostgreSQL', stack: rc, store: 'postgres', module: 'ours' },
  { id: 'ours-mysql', title: 'this library, MySQL', stack: rc, store: 'mysql', module: 'ours' },
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
  {
    id: 'ours-memory-again',
    title: 'this library, InMemory, again',
    stack: rc,
    store: 'memory',
    module: 'ours',
    controlOf: 'ours-memory',
  },
];
