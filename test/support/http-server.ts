import { Agent, createServer, type IncomingHttpHeaders, request, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
  /** The cookie that the answer sets: a token, '' where it clears it, `undefined` where it leaves it alone. */
  token: string | undefined;
}

/** A server on a free port of this machine, and the client to it: many requests at once, over kept connections. */
export class HttpServer {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 100 });

  private constructor(private readonly server: Server) {}

  static async start(listener: (...request: Parameters<RequestListener>) => unknown): Promise<HttpServer> {
    // Node closes connections that were idle for long, at times just when the client sends on one.
    const server = createServer({ keepAliveTimeout: 0 }, (req, res) => void listener(req, res));
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    return new HttpServer(server);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  send(method: string, path: string, token?: string, signal?: AbortSignal): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          port: this.port,
          host: '127.0.0.1',
          method,
          path,
          agent: this.#agent,
          headers: token === undefined ? {} : { cookie: `session=${token}` },
          ...(signal ? { signal } : {}),
        },
        response => {
          let body = '';
          response.setEncoding('utf8').on('data', (text: string) => (body += text));
          response.on('error', reject).on('end', () => {
            const { statusCode: status = 0, headers } = response;
            const cookies = headers['set-cookie'] ?? [];
            if (cookies.length > 1) reject(new Error(`${cookies.length} Set-Cookie headers in one response`));
            const found = cookies[0] === undefined ? undefined : /^[^=]+=([^;]*)/.exec(cookies[0])?.[1];
            resolve({ status, headers, body, token: found });
          });
        },
      );
      sent.on('error', reject).end();
    });
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    this.server.closeAllConnections();
    await new Promise(resolve => this.server.close(resolve));
  }
}
