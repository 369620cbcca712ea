import { randomBytes } from 'node:crypto';
import type { StoreFinding } from '../../core/findings.js';
import { startTimer, stopTimer } from '../../core/timers.js';
import { type Configured, type RedisClusterClient, type RedisNodeClient, textOf, textsOf } from './client.js';

/** The first version that has all that the backend needs. */
const FIRST_MAJOR = 6;

/** Milliseconds for one node. */
const PATIENCE = 500;

/** The most keys that are tried until one lies on a certain node of a cluster. */
const TRIES = 1_000;

/** Scripts run on the server that the writes go to, with any kind of client. */
const INFO = "return redis.call('INFO')";
const CLUSTER_INFO = "return redis.call('CLUSTER', 'INFO')";

/**
 * Tries all commands of the scripts on keys that nobody else has, and leaves none of them. Returns the commands that are
 * refused, each with the server's error. KEYS: three.
 */
const TRY = `
local failed = {}
local a, b, c = KEYS[1], KEYS[2], KEYS[3]
local function try(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    failed[#failed + 1] = select(1, ...)
    failed[#failed + 1] = reply.err
  end
end
try('TIME')
try('SET', a, 'x', 'PX', 10000)
try('GET', a)
try('GETRANGE', a, 0, 1)
try('EXISTS', a)
try('ZADD', b, 1, 'x')
try('PEXPIRE', b, 10000)
try('PTTL', b)
try('ZSCORE', b, 'x')
try('ZCARD', b)
try('ZRANGE', b, 0, -1)
try('ZREVRANGE', b, 0, -1)
try('ZRANGEBYSCORE', b, 0, 1)
try('RENAME', b, c)
try('ZREMRANGEBYRANK', c, 0, 0)
try('ZREM', c, 'x')
try('DEL', b)
try('SADD', b, 'x')
try('SMEMBERS', b)
try('SREM', b, 'x')
try('DEL', a, b, c)
return failed`;

export async function isNodeOfCluster(client: RedisNodeClient): Promise<boolean> {
  try {
    return new Info(await client.eval(INFO, NO_KEYS)).of('redis_mode') === 'cluster';
  } catch (error) {
    if (isRefused(error)) return false;
    throw error;
  }
}

/** Looks at one server. Rejects when it does not answer. */
export async function findingsOfServer(client: RedisNodeClient, prefix: string): Promise<StoreFinding[]> {
  return [...(await lookAt(client, 'the server')), ...(await tryCommands(client, keysFor(prefix)))];
}

/** Looks at each master of a cluster. */
export async function findingsOfCluster(cluster: RedisClusterClient, prefix: string): Promise<StoreFinding[]> {
  await cluster.refresh?.();
  const perNode = await Promise.all(
    cluster.masters.map(async master => {
      const name = nameOf(master);
      try {
        return await inTime(cluster.nodeClient(master as never), async node => [
          ...(await lookAt(node, name)),
          ...(await tryOnNode(node, prefix)),
        ]);
      } catch (error) {
        const message = `RedisBackend: the master ${name} does not answer: ${messageOf(error)}`;
        const advice = 'Sessions in its slots are unavailable until it is back, or a replica takes its place';
        return [{ code: 'REDIS_UNREACHABLE', message, advice }];
      }
    }),
  );
  const found = perNode.flat();
  // A fault that all of them have is one finding.
  return found.filter(
    ({ code, message }, n) => n === found.findIndex(each => each.code === code && each.message === message),
  );
}

/** A node that is away must not keep what is known of the others: a client lets commands to it wait. */
function inTime<N, R>(node: Promise<N>, look: (node: N) => Promise<R>): Promise<R> {
  return new Promise((resolve, reject) => {
    const timer = startTimer(() => reject(new Error(`no answer within ${PATIENCE} ms`)), PATIENCE);
    node
      .then(look)
      .then(resolve, reject)
      .finally(() => stopTimer(timer));
  });
}

async function lookAt(client: RedisNodeClient, name: string): Promise<StoreFinding[]> {
  const findings: StoreFinding[] = [];
  const find = (code: string, problem: string, advice: string): void =>
    void findings.push({ code: `REDIS_${code}`, message: `RedisBackend: ${name} ${problem}`, advice });
  let info: Info;
  try {
    info = new Info(await client.eval(INFO, NO_KEYS));
  } catch (error) {
    if (!isRefused(error)) throw error;
    const advice = 'Grant +info, or look at these settings yourself: maxmemory-policy noeviction, and persistence';
    find('UNCHECKED', `does not let this user look at it: ${messageOf(error)}`, advice);
    return findings;
  }

  const version = info.of('redis_version') ?? '';
  if (Number.parseInt(version, 10) < FIRST_MAJOR)
    find('VERSION', `is version ${version}`, `Use version ${FIRST_MAJOR} or later; 7.0 is what is tested`);
  if (info.of('role') === 'slave')
    find(
      'REPLICA',
      `is a replica of ${info.of('master_host')}:${info.of('master_port')}: it writes nothing, and may still have ended sessions`,
      'Connect to the primary: through Sentinel, with a client of the cluster, or by an address that follows it',
    );
  const policy = info.of('maxmemory_policy');
  if (policy !== undefined && policy !== 'noeviction')
    find(
      'EVICTION',
      `evicts keys when its memory is full (maxmemory-policy ${policy}): users are logged out, and ending all sessions of a ` +
        'user misses those whose index was evicted',
      'Set maxmemory-policy noeviction, and give the sessions a server of their own if others need a cache',
    );
  if (info.of('aof_enabled') === '0' && (await savesNothing(client)))
    find(
      'PERSISTENCE',
      'keeps nothing on disk: a restart logs everybody out',
      'Set appendonly yes, with appendfsync always if no log-out may be lost',
    );
  const failed = ['aof_last_write_status', 'aof_last_bgrewrite_status', 'rdb_last_bgsave_status'].filter(
    status => info.of(status) === 'err',
  );
  if (failed.length > 0)
    find('DISK', `could not write to its disk (${failed.join(', ')})`, 'Look at its log, and at the space on its disk');
  if (info.of('cluster_enabled') === '1') {
    const state = new Info(await client.eval(CLUSTER_INFO, NO_KEYS)).of('cluster_state');
    if (state !== 'ok')
      find(
        'CLUSTER_STATE',
        `reports cluster_state ${state}`,
        'Look at CLUSTER NODES: slots have no master that answers',
      );
  }
  return findings;
}

/** `false` also where the server does not say: managed ones seldom do. */
async function savesNothing(client: RedisNodeClient): Promise<boolean> {
  if (!('configGet' in client)) return false;
  try {
    const reply = await (client as Configured).configGet('save');
    const value = Array.isArray(reply) ? textsOf(reply)[1] : textOf((reply as { save?: unknown }).save);
    return value === '';
  } catch {
    return false;
  }
}

async function tryOnNode(node: RedisNodeClient, prefix: string): Promise<StoreFinding[]> {
  for (let n = 0; n < TRIES; n++) {
    try {
      return await tryCommands(node, keysFor(prefix));
    } catch (error) {
      const message = messageOf(error);
      // A server that is down is a finding of its own.
      if (message.startsWith('CLUSTERDOWN ')) return [];
      if (!message.startsWith('MOVED ')) throw error;
    }
  }
  return [];
}

async function tryCommands(client: RedisNodeClient, keys: string[]): Promise<StoreFinding[]> {
  const refused = new Map<string, string>();
  try {
    const failed = textsOf(await client.eval(TRY, { keys, arguments: [] }));
    for (let n = 0; n + 1 < failed.length; n += 2) refused.set(failed[n] ?? '', failed[n + 1] ?? '');
    const [key = ''] = keys;
    for (const [name, run] of Object.entries({
      GET: () => client.get(key),
      EVALSHA: () => client.evalSha('0'.repeat(40), { keys: [key], arguments: [] }),
    }))
      await run().catch((error: unknown) => isForbidden(messageOf(error)) && refused.set(name, messageOf(error)));
  } catch (error) {
    if (!isForbidden(messageOf(error))) throw error;
    refused.set('EVAL', messageOf(error));
  }
  const errors = [...refused];
  const forbidden = errors.filter(([, error]) => isForbidden(error));
  if (forbidden.length > 0) {
    const commands = forbidden.map(([name]) => name).join(', ');
    return [
      {
        code: 'REDIS_RIGHTS',
        message: `RedisBackend: the user may not run ${commands} on keys of the prefix`,
        advice:
          'Grant the commands on all keys of the prefix: ACL SETUSER <user> ~<prefix>* +@all -@admin -@dangerous +info',
      },
    ];
  }
  // A replica refuses every write, which is a finding of its own.
  const [other] = errors.filter(([, error]) => !error.includes('READONLY '));
  if (!other) return [];
  return [
    {
      code: 'REDIS_REFUSES',
      message: `RedisBackend: the server refuses ${other[0]}: ${other[1]}`,
      advice: 'Log-ins and log-outs fail until it accepts writes again: look at its memory and at its disk',
    },
  ];
}

const NO_KEYS = { keys: [], arguments: [] };

/** Three names in one slot of a cluster. */
function keysFor(prefix: string): string[] {
  const tag = `${prefix}{check:${randomBytes(9).toString('base64url')}}`;
  return [`${tag}a`, `${tag}b`, `${tag}c`];
}

/** The fields of INFO. */
class Info {
  readonly #text: string;

  constructor(reply: unknown) {
    this.#text = textOf(reply) ?? '';
  }

  of(field: string): string | undefined {
    return new RegExp(`^${field}:(.*?)\\r?$`, 'm').exec(this.#text)?.[1];
  }
}

function isRefused(error: unknown): boolean {
  return isForbidden(messageOf(error));
}

/** The wording depends on the version, and on which part of a script is not allowed. */
function isForbidden(message: string): boolean {
  return /NOPERM|no permissions?|can't run this command|can't access at least one of the keys/i.test(message);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function nameOf(master: unknown): string {
  const { host, port } = master as { host?: string; port?: number };
  return host === undefined ? 'a master' : `${host}:${port}`;
}
