import { EventEmitter, once } from 'node:events';
import { get, type ServerResponse } from 'node:http';

import { openServer } from '../../playground/http-server.js';

const GRACE = 5000;

function statusOf(url: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, response => {
      response.resume();
      resolve(response.statusCode);
    }).once('error', reject);
  });
}

describe('openServer', () => {
  test('reports its address', async () => {
    const server = await openServer((_request, response) => response.end(), 0, '127.0.0.1');
    expect(server.url).toBe(`http://127.0.0.1:${server.port}`);
    expect(await statusOf(server.url)).toBe(200);
    await server.close(GRACE);
    await expect(statusOf(server.url)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('reports a taken port, with the setting to change', async () => {
    const server = await openServer(() => undefined, 0, '127.0.0.1');
    await expect(openServer(() => undefined, server.port, '127.0.0.1')).rejects.toThrow(
      `PORT: ${server.port} is taken on 127.0.0.1; write another one, or 0 for any that is free`,
    );
    await server.close(GRACE);
  });

  test.each(['192.0.2.1', 'host.invalid'])('reports that the host %s is not this machine', async host => {
    await expect(openServer(() => undefined, 0, host)).rejects.toThrow(`HOST: ${host} is no address of this machine`);
  });

  test('lets a request that is under way finish when it closes', async () => {
    const requests = new EventEmitter();
    const server = await openServer((_request, response) => requests.emit('begun', response), 0, '127.0.0.1');
    const begun = once(requests, 'begun') as Promise<[ServerResponse]>;
    const answer = statusOf(server.url);
    const [response] = await begun;
    const closed = server.close(GRACE);
    response.end();
    expect(await answer).toBe(200);
    await closed;
  });

  test('cuts off requests that do not finish in time', async () => {
    const requests = new EventEmitter();
    const server = await openServer(() => requests.emit('begun'), 0, '127.0.0.1');
    const begun = once(requests, 'begun');
    const answer = expect(statusOf(server.url)).rejects.toMatchObject({ code: 'ECONNRESET' });
    await begun;
    await server.close(20);
    await answer;
  });
});
