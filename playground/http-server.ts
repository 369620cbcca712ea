import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { SettingsError } from './settings-error.js';

export interface HttpServer {
  readonly port: number;
  readonly url: string;
  /** Takes no new requests, and lets those under way finish for at most `grace` milliseconds. */
  close(grace: number): Promise<void>;
}

type Listener = (request: IncomingMessage, response: ServerResponse) => unknown;

/** @throws SettingsError when the address is not available; it names the variable to change */
export async function openServer(
  listener: Listener,
  port: number,
  host: string,
  variable = 'PORT',
): Promise<HttpServer> {
  const server = createServer((request, response) => void listener(request, response));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(explain(error, port, host, variable)));
    server.listen(port, host, resolve);
  });
  const address = server.address() as AddressInfo;
  return {
    port: address.port,
    url: `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`,
    close: grace =>
      new Promise((resolve, reject) => {
        const deadline = setTimeout(() => server.closeAllConnections(), grace);
        server.close(error => {
          clearTimeout(deadline);
          if (error) reject(error);
          else resolve();
        });
      }),
  };
}

function explain(error: NodeJS.ErrnoException, port: number, host: string, variable: string): Error {
  switch (error.code) {
    case 'EADDRINUSE':
      return new SettingsError(
        `${variable}: ${port} is taken on ${host}; write another one, or 0 for any that is free`,
      );
    case 'EACCES':
      return new SettingsError(`${variable}: ${port} is not for this user; write one from 1024`);
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new SettingsError(`HOST: ${host} is no address of this machine; write 127.0.0.1, or 0.0.0.0 for all`);
    default:
      return error;
  }
}
