import { connect } from 'node:net';
import { startTimer } from '../../core/timers.js';
import type { PostgresClient } from './pool.js';

/** The code of the protocol's CancelRequest, in place of a protocol version. */
const CANCEL_REQUEST = 80877102;

/** The longest time for a request to cancel, in milliseconds. */
const LONGEST_REQUEST = 1000;

/** The most requests for one statement, and the time between two of them in milliseconds. */
const REQUESTS = 10;
const INTERVAL = 100;

/**
 * Has the server end the statement that a client runs. Asks several times, because a pooler drops the request for a statement
 * that still waits for a connection of the server, and sends the statement later.
 *
 * @returns a promise for the end of the statement, or of the attempts. Never rejects.
 */
export async function endStatement(client: PostgresClient): Promise<void> {
  let left = REQUESTS;
  const end = (): void => void (left = 0);
  client.on('drain', end);
  client.on('end', end);
  while (left-- > 0) {
    await cancelStatement(client);
    await new Promise<void>(resolve => startTimer(resolve, INTERVAL));
  }
  client.off('drain', end);
  client.off('end', end);
}

/**
 * Asks the server to cancel a statement, over a connection of its own, as the protocol has it: without a log-in, and outside
 * of the server's limit on connections. Like libpq before version 17 it sends the request unencrypted.
 */
function cancelStatement({ host, port, processID, secretKey }: PostgresClient): Promise<void> {
  // Not a client of pg, or one that is not connected.
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
