import { createClient, TimeoutError } from 'redis';

import { quickGet } from '../../src/backends/redis/quick-get.js';
import { describeWith, startRedis } from '../support/engines.js';

const opened: (() => unknown)[] = [];

afterEach(async () => {
  jest.restoreAllMocks();
  for (const close of opened.splice(0).reverse()) await close();
});

describeWith('redis', 'a quick GET', () => {
  async function start(timeout = 60_000) {
    const server = await startRedis();
    opened.push(() => server.stop());
    const socket = { host: '127.0.0.1', port: server.port };
    const client = createClient({ socket, commandOptions: { timeout } }).on('error', () => undefined);
    await client.connect();
    opened.push(() => client.destroy());
    await client.set('name', 'Ada');
    // A spy that is told nothing calls through.
    return { server, client, get: quickGet(client), deadlines: jest.spyOn(AbortSignal, 'timeout') };
  }

  test('has no deadline of the client while its commands are sent at once', async () => {
    const { client, get, deadlines } = await start();
    expect(await client.get('name')).toBe('Ada');
    expect(deadlines).toHaveBeenCalledTimes(1);
    expect(await get('name')).toBe('Ada');
    expect(deadlines).toHaveBeenCalledTimes(1);
  });

  test('has the deadline of the client while there is no connection, so that its queue does not grow', async () => {
    const { server, client, get } = await start(50);
    const lost = new Promise(resolve => client.once('reconnecting', resolve));
    await server.stop();
    await lost;
    await expect(get('name')).rejects.toBeInstanceOf(TimeoutError);
  });

  test('has the deadline of the client where a thousand others wait', async () => {
    const { get, deadlines } = await start();
    const answers = await Promise.all(Array.from({ length: 1_010 }, () => get('name')));
    expect(new Set(answers)).toEqual(new Set(['Ada']));
    expect(deadlines).toHaveBeenCalledTimes(10);
    await get('name');
    expect(deadlines).toHaveBeenCalledTimes(10);
  });

  test('calls a method that somebody has wrapped', async () => {
    const { client, get } = await start();
    const wrapped = jest.spyOn(client, 'get');
    expect(await get('name')).toBe('Ada');
    expect(wrapped).toHaveBeenCalledTimes(1);
  });
});
