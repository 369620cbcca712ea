import { connect } from 'node:net';
import type { PostgresClient } from './pool.js';

/** The code of the protocol's CancelRequest, in place of a protocol version. */
const CANCEL_REQUEST = 80877102;

/** The longest time for a request to cancel, in milliseconds. */
const LONGEST_REQUEST = 1000;

/**
 * Asks the server to cancel the statement that a client runs, over a connection of its own, as the protocol has it: without
 * a log-in, and outside of the server's limit on connections. Like libpq before version 17 it sends the request unencrypted.
 *
 * @returns a promise for the end of the request, which never rejects. A client without an address and a key cannot cancel.
 */
export function cancelStatement({ host, port, processID, secretKey }: PostgresClient): Promise<void> {
  if (typeof host !== 'string' || typeof port !== 'number') return Promise.resolve();
  if (typeof processID !== 'number' || typeof secretKey !== 'number') return Promise.resolve();
  const request = Buffer.alloc(16);
  [request.length, CANCEL_REQUEST, processID, secretKey].forEach((word, n) => request.writeInt32BE(word, 4 * n));
  return new Promise(resolve => {
    const socket = connect(host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port });
    socket.setTimeout(LONGEST_REQUEST, () => socket.destroy());
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
    // The server closes the connection when it has passed the request on. PgBouncer drops one that was closed before.
    socket.on('connect', () => socket.write(request));
    socket.resume();
  });
}
