import Redis, { Cluster } from 'ioredis';

import { RedisBackend } from '../../src/backends/redis/backend.js';
import { ENGINE_CLOCK } from '../../src/core/engine-clock.js';
import type { SessionRecord } from '../../src/core/record.js';
import { describeWith, freePort, startRedis, until, type PrivateServer } from '../support/engines.js';
import { OutageProxy } from '../support/outage-proxy.js';
import { startRedisCluster, withClient } from '../support/redis-cluster.js';
import { sessionRecord as record } from '../support/session-record.js';

const HOST = '127.0.0.1';

/** How often a connection is lost whose server has carried out what it did not answer. */
const LOST = 20;

let prefixes = 0;
const clients: (Redis | Cluster)[] = [];
function kept<C extends Redis | Cluster>(client: C): C {
  client.on('error', () => undefined);
  clients.push(client);
  return client;
}
afterEach(() => {
  for (const client of clients.splice(0)) client.disconnect();
});

const open = (client: Redis | Cluster, prefix = `io-${prefixes++}:`): RedisBackend =>
  new RedisBackend({ client, prefix });

const succeeds = (call: Promise<unknown>): Promise<boolean> =>
  call.then(
    () => true,
    () => false,
  );

/** Calls all that a request can need, on one record and on two of one user. */
async function serves(backend: RedisBackend): Promise<void> {
  const [first, second] = [record({ principal: 'ada' }), record({ principal: 'ada' })];
  expect(await Promise.all([first, second].map(each => backend.create(each)))).toEqual([true, true]);
  expect(await backend.create(first)).toBe(false);
  expect(await backend.read(first.id)).toEqual(first);
  expect(await backend.update({ ...first, data: '"new"' }, 1)).toBe('updated');
  expect(await backend.update({ ...first, data: '"old"' }, 1)).toBe('conflict');
  expect(await backend.touch(first.id, 2_000, 3_602_000)).toBe(true);
  expect(await backend.touch('absent', 2_000, 3_602_000)).toBe(false);
  expect((await backend.listByPrincipal('ada', 1)).length).toBe(1);
  expect(await backend.deleteByPrincipal('ada', second.id)).toEqual([first.id]);
  expect(await backend.read(first.id)).toBeUndefined();
  expect(await backend.delete(second.id)).toBe(true);
  await backend.create(first);
  expect(await backend.deleteExpired(Infinity)).toBe(1);
  expect(Math.abs((await backend[ENGINE_CLOCK]()) - Date.now())).toBeLessThan(60_000);
}

/** Each log-in is carried out, ended by another process before its answer arrives, and must not be made again. */
async function survivesLostAnswers(
  client: Redis | Cluster,
  direct: Redis | Cluster,
  proxies: readonly OutageProxy[],
): Promise<void> {
  const [backend, other] = [open(client, 'once:'), open(direct, 'once:')];
  const survivors: SessionRecord[] = [];
  let confirmed = 0;
  let tried = 0;
  // Each node has to have the script: its answer that it does not would be lost, too.
  for (let n = 0; n < 40; n++) await backend.create(record());
  for (let attempt = 0; tried < LOST && attempt < 5 * LOST; attempt++) {
    // Without a principal, so that it is one command in a cluster, too.
    const one = record();
    const isConnected = () => succeeds(Promise.all(Array.from({ length: 20 }, (_, id) => backend.delete(String(id)))));
    await until(isConnected, 'the connection');
    for (const proxy of proxies) proxy.loseAnswers();
    let isOver = false;
    const creating = succeeds(backend.create(one)).finally(() => (isOver = true));
    // A client that was just about to connect to a node sends nothing there, as long as an answer is lost that it waits for.
    await succeeds(until(async () => isOver || (await other.read(one.id)) !== undefined, 'the record', 5));
    if (await other.delete(one.id)) tried++;
    for (const proxy of proxies) await proxy.goDown();
    for (const proxy of proxies) await proxy.heal();
    if (await creating) confirmed++;
    await until(isConnected, 'the next connection');
    survivors.push(...[await other.read(one.id)].filter(each => each !== undefined));
  }
  expect({ tried, confirmed, survivors }).toEqual({ tried: LOST, confirmed: 0, survivors: [] });
  for (const proxy of proxies) await proxy.stop();
}

describe('a client of ioredis', () => {
  const nowhere = { host: HOST, port: 1, lazyConnect: true };
  const sentinels = [{ host: HOST, port: 1 }];
  const replicas: [string, Redis | Cluster, string][] = [
    ["Sentinel's replicas", new Redis({ sentinels, name: 'x', role: 'slave', lazyConnect: true }), "role: 'slave'"],
    ['a replica', new Redis({ ...nowhere, readOnly: true }), 'readOnly: true'],
    ...(['slave', 'all', () => []] as const).map((scaleReads): [string, Cluster, string] => [
      `a cluster with scaleReads ${String(scaleReads)}`,
      new Cluster([nowhere], { lazyConnect: true, scaleReads }),
      'scaleReads',
    ]),
  ];
  it.each(replicas)('that reads from %s is refused', (_, client, option) => {
    expect(() => new RedisBackend({ client })).toThrow(
      expect.objectContaining({
        code: 'ERR_SESSION_CONFIG',
        message: expect.stringContaining(`client: refuses ${option}, because replicas`) as string,
      }),
    );
  });

  it('whose server is away fails, and does not answer "absent"', async () => {
    const port = await freePort();
    const away = [
      kept(new Redis({ host: HOST, port, maxRetriesPerRequest: 1, retryStrategy: () => 5 })),
      kept(new Redis({ host: HOST, port, enableOfflineQueue: false, retryStrategy: () => 5 })),
      kept(new Redis({ host: HOST, port, maxRetriesPerRequest: null, commandTimeout: 100, retryStrategy: () => 5 })),
      kept(new Cluster([{ host: HOST, port }], { clusterRetryStrategy: () => null })),
    ];
    for (const client of away) {
      const backend = open(client);
      for (const call of [
        () => backend.read('x'),
        () => backend.create(record()),
        () => backend.delete('x'),
        () => backend.listByPrincipal('ada'),
        () => backend.deleteByPrincipal('ada'),
        () => backend.deleteExpired(Infinity),
      ])
        await expect(call()).rejects.toBeInstanceOf(Error);
    }
  });
});

describeWith('redis', 'ioredis on one server', () => {
  let server: PrivateServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());

  const address = () => ({ host: HOST, port: server.port });

  it.each([
    ['that is not connected yet', {}],
    ['that connects at the first command', { lazyConnect: true }],
    ['with automatic pipelines', { enableAutoPipelining: true }],
    ['that returns numbers as strings', { stringNumbers: true }],
    ['that keeps stacks of errors', { showFriendlyErrorStack: true }],
    ['without a limit of retries', { maxRetriesPerRequest: null }],
    ['with a prefix for keys', { keyPrefix: 'own?[*]:' }],
    ['with a prefix and automatic pipelines', { keyPrefix: 'own:', enableAutoPipelining: true }],
  ] as const)('works with a client %s', async (_, options) => {
    await withClient(server, node => node.sendCommand(['SCRIPT', 'FLUSH']));
    await serves(open(kept(new Redis({ ...address(), ...options }))));
  });

  it('sends nothing a second time that the server may have carried out', async () => {
    const proxy = await OutageProxy.start(server.port);
    const client = kept(new Redis({ host: HOST, port: proxy.port, retryStrategy: () => 5 }));
    await survivesLostAnswers(client, kept(new Redis(address())), [proxy]);
  });
});

describeWith('redis', 'ioredis on a cluster', () => {
  let servers: PrivateServer[];
  beforeAll(async () => {
    servers = await startRedisCluster();
  });
  afterAll(async () => {
    for (const server of servers) await server.stop();
  });

  const nodes = () => servers.map(({ port }) => ({ host: HOST, port }));

  it.each([
    ['that is not connected yet', {}],
    ['that connects at the first command', { lazyConnect: true }],
    ['with automatic pipelines', { enableAutoPipelining: true }],
    ['that returns numbers as strings', { redisOptions: { stringNumbers: true } }],
    ['with a prefix for keys', { keyPrefix: 'own?[*]:' }],
    ['with a prefix for the keys of its nodes', { redisOptions: { keyPrefix: 'own?[*]:' } }],
  ])('works with a client %s', async (_, options) => {
    await serves(open(kept(new Cluster(nodes(), options))));
  });

  it('sends nothing a second time that a server may have carried out', async () => {
    const proxies = await Promise.all(servers.map(({ port }) => OutageProxy.start(port)));
    const natMap = Object.fromEntries(
      servers.map(({ port }, n) => [`${HOST}:${port}`, { host: HOST, port: proxies[n]!.port }]),
    );
    const client = kept(new Cluster(nodes(), { natMap, clusterRetryStrategy: () => 5 }));
    await survivesLostAnswers(client, kept(new Cluster(nodes())), proxies);
  });
});
