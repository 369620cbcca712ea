import { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

import type { Opened } from '../subject.js';

/** A connection from this machine that sends nothing and drops what it is given. */
class SilentSocket extends Duplex {
  readonly remoteAddress = '127.0.0.1';

  override _read(): void {
    // There is nothing to read.
  }

  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done();
  }
}

/** Those without a request: one is enough unless requests overlap. */
const idle: Socket[] = [];

/** Sends one request to a listener, with no network between, and resolves once the response is over. */
export function request(
  listener: Opened['listener'],
  method: string,
  path: string,
  cookie: string | undefined,
): Promise<ServerResponse> {
  const socket = idle.pop() ?? (new SilentSocket() as unknown as Socket);
  const incoming = new IncomingMessage(socket);
  incoming.method = method;
  incoming.url = path;
  incoming.headers = { host: 'localhost' };
  if (cookie !== undefined) incoming.headers.cookie = cookie;
  const response = new ServerResponse(incoming);
  response.assignSocket(socket);
  return new Promise(resolve => {
    response.on('finish', () => {
      // As Node's server does.
      response.detachSocket(socket);
      idle.push(socket);
      process.nextTick(() => {
        response.emit('close');
        resolve(response);
      });
    });
    listener(incoming, response);
  });
}
