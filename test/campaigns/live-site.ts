import type { ChildProcess } from 'node:child_process';
import { request } from 'node:http';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { WebSocket } from 'ws';
import { forkModule } from '../support/child.js';
import { until } from '../support/engines.js';

/** One process of the application. */
export interface Node {
  port: number;
  child: ChildProcess;
}

/** A stream or a socket of a client, which the server is to close. */
export interface Open {
  readonly id: string;
  readonly token: string;
  /** What the server said when it closed: the code of the signal's reason. */
  readonly closed: Promise<string>;
  /** `performance.now()` when it was closed. */
  closedAt: number | undefined;
  destroy(): void;
}

interface Answer {
  status: number;
  body: string;
  token: string | undefined;
}

/** Several processes of one application on one store, behind a proxy that gives each connection to the next of them. */
export class LiveSite {
  private constructor(
    readonly nodes: readonly Node[],
    private readonly proxy: Server,
  ) {}

  /**
   * @param addresses of the store, one for each process
   * @param options of the cookie services
   */
  static async start(engine: string, addresses: readonly string[], options: object = {}): Promise<LiveSite> {
    const nodes = await Promise.all(
      addresses.map(async address => {
        const child = forkModule('../campaigns/live-app', [engine, address, JSON.stringify(options)]);
        const { port } = await new Promise<{ port: number }>((resolve, reject) => {
          child.once('message', message => resolve(message as { port: number }));
          child.once('exit', code => reject(new Error(`the application ended with ${code}`)));
        });
        return { port, child };
      }),
    );
    let connections = 0;
    const proxy = createServer(client => {
      const { port } = nodes[connections++ % nodes.length]!;
      const server = connect(port, '127.0.0.1');
      client.pipe(server).pipe(client);
      client.on('error', () => server.destroy());
      server.on('error', () => client.destroy());
    });
    await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve));
    return new LiveSite(nodes, proxy);
  }

  /** The port of the proxy. */
  get port(): number {
    return (this.proxy.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    const gone = this.nodes.map(({ child }) => new Promise(resolve => child.once('exit', resolve)));
    for (const { child } of this.nodes) child.kill('SIGKILL');
    await Promise.all(gone);
    this.proxy.close();
  }

  send(path: string, { port = this.port, token }: { port?: number; token?: string } = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const headers = token === undefined ? {} : { cookie: `session=${token}` };
      const sent = request({ port, host: '127.0.0.1', path, agent: false, headers }, response => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => (body += text));
        response.on('error', reject).on('end', () => {
          const [cookie = ''] = response.headers['set-cookie'] ?? [];
          resolve({ status: response.statusCode ?? 0, body, token: /^session=([^;]+)/.exec(cookie)?.[1] });
        });
      });
      sent.on('error', reject).end();
    });
  }

  async logIn(user: string, port?: number): Promise<{ id: string; token: string }> {
    const answer = await this.send(`/login?as=${user}`, port === undefined ? {} : { port });
    if (answer.token === undefined) throw new Error(`log-in: ${answer.status} ${answer.body}`);
    return { id: (JSON.parse(answer.body) as { id: string }).id, token: answer.token };
  }

  /** Opens a stream of a session. `undefined`: it was refused. */
  openStream({ id, token }: { id: string; token: string }, port = this.port): Promise<Open | undefined> {
    return new Promise((resolve, reject) => {
      const sent = request(
        { port, host: '127.0.0.1', path: '/stream', agent: false, headers: { cookie: `session=${token}` } },
        response => {
          if (response.statusCode !== 200) {
            response.resume();
            resolve(undefined);
            return;
          }
          let said = '';
          const closed = new Promise<string>(over => {
            response.on('data', (text: Buffer) => (said += text.toString()));
            response.on('error', () => undefined);
            response.on('close', () => {
              open.closedAt = performance.now();
              over(said.replace('open\n', '').trim());
            });
          });
          const open: Open = { id, token, closed, closedAt: undefined, destroy: () => sent.destroy() };
          resolve(open);
        },
      );
      sent.on('error', reject).end();
    });
  }

  /** Opens a WebSocket of a session. `undefined`: it was refused. */
  openSocket({ id, token }: { id: string; token: string }, port = this.port): Promise<Open | undefined> {
    return new Promise(resolve => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/socket`, { headers: { cookie: `session=${token}` } });
      const closed = new Promise<string>(over => {
        socket.on('close', (code, reason) => {
          open.closedAt = performance.now();
          over(code === 4401 ? reason.toString() : `closed with ${code}`);
        });
      });
      const open: Open = { id, token, closed, closedAt: undefined, destroy: () => socket.terminate() };
      socket.once('open', () => resolve(open));
      socket.once('error', () => resolve(undefined));
    });
  }

  /** Stops a process, as a suspended machine does, until the promise resolves. */
  async suspended(node: Node, work: () => Promise<void>): Promise<void> {
    node.child.kill('SIGSTOP');
    try {
      await work();
    } finally {
      node.child.kill('SIGCONT');
    }
  }
}

/** Opens streams and sockets by turns. */
export async function openMany(site: LiveSite, count: number, port?: number): Promise<Open[]> {
  const opened: Open[] = [];
  await inLanes(count, 10, async n => {
    const session = await site.logIn(`user-${n}`);
    const open = await (n % 2 === 0 ? site.openStream(session, port) : site.openSocket(session, port));
    if (!open) throw new Error('a living session was refused');
    opened.push(open);
  });
  return opened;
}

export async function inLanes(count: number, lanes: number, work: (n: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(lanes, count) }, lane));
}

/** The delays in milliseconds at which connections were closed. */
export class Delays {
  readonly #all: number[] = [];

  add(milliseconds: number): void {
    this.#all.push(Math.max(0, milliseconds));
  }

  get count(): number {
    return this.#all.length;
  }

  get worst(): number {
    return Math.max(0, ...this.#all);
  }

  toString(): string {
    const sorted = [...this.#all].sort((a, b) => a - b);
    const at = (share: number): string => (sorted[Math.floor(share * (sorted.length - 1))] ?? NaN).toFixed(1);
    return `closed after ${at(0.5)} ms (median), ${at(0.99)} (p99), ${at(1)} (worst)`;
  }
}

/** Waits until all are closed, and returns how many are not. */
export async function stillOpen(opened: readonly Open[], seconds: number): Promise<number> {
  await until(() => opened.every(({ closedAt }) => closedAt !== undefined), 'all to be closed', seconds).catch(
    () => undefined,
  );
  return opened.filter(({ closedAt }) => closedAt === undefined).length;
}
