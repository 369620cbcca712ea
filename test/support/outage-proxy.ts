import { connect, createServer, type Server, type Socket } from 'node:net';
import { freePort, until } from './engines.js';

/** One way of a connection through the proxy. What is on its way arrives in its order, however the delay changes. */
class Way {
  readonly #waiting: { chunk: Buffer; timer: NodeJS.Timeout }[] = [];
  #swallows = false;

  constructor(
    from: Socket,
    private readonly to: Socket,
    private readonly delay: () => number,
  ) {
    from.on('data', (chunk: Buffer) => this.#take(chunk));
  }

  /** From now on nothing arrives any more, also not what is on its way. */
  swallow(): void {
    this.#swallows = true;
    this.#drop();
  }

  /** Lets all that is on its way arrive now. */
  flush(): void {
    for (const { chunk } of this.#drop()) this.to.write(chunk);
  }

  #drop(): { chunk: Buffer }[] {
    const dropped = this.#waiting.splice(0);
    for (const { timer } of dropped) clearTimeout(timer);
    return dropped;
  }

  #take(chunk: Buffer): void {
    if (this.#swallows) return;
    const delay = this.delay();
    if (delay === 0 && this.#waiting.length === 0) {
      this.to.write(chunk);
      return;
    }
    const timer = setTimeout(() => {
      const next = this.#waiting.shift();
      if (next) this.to.write(next.chunk);
    }, delay);
    this.#waiting.push({ chunk, timer });
  }
}

interface Link {
  client: Socket;
  server: Socket | undefined;
  ways: Way[];
  /** Whether a black hole has taken it. */
  isLost: boolean;
}

/** A TCP proxy before an engine, in which a test breaks the network. */
export class OutageProxy {
  readonly #links = new Set<Link>();
  /** The engine's ends of connections that a black hole took: nobody tells the engine that they are dead. */
  readonly #lost = new Set<Socket>();
  #listener: Server | undefined;
  #delay = 0;
  #isHole = false;

  private constructor(
    readonly port: number,
    private readonly enginePort: number,
  ) {}

  static async start(enginePort: number): Promise<OutageProxy> {
    const proxy = new OutageProxy(await freePort(), enginePort);
    await proxy.#listen();
    return proxy;
  }

  /** Connections are reset, and new ones refused. */
  async goDown(): Promise<void> {
    const closed = new Promise(resolve => this.#listener?.close(resolve));
    this.#listener = undefined;
    for (const link of this.#links) reset(link);
    await closed;
  }

  /** Each byte arrives so many milliseconds later, on the way there and on the way back. */
  slowDown(milliseconds: number): void {
    this.#delay = milliseconds;
  }

  /** What is sent on the present connections arrives, but no answer does. */
  loseAnswers(): void {
    for (const { ways } of this.#links) ways[1]?.swallow();
  }

  /** Connections are accepted, and stay open; nothing that is sent arrives. */
  becomeBlackHole(): void {
    this.#isHole = true;
    for (const link of this.#links) {
      link.isLost = true;
      for (const way of link.ways) way.swallow();
    }
  }

  /**
   * The outage is over for new connections. Those that a black hole took do not come back: they are reset, or, where
   * `silently`, nobody ever hears of them again, as behind a firewall that has forgotten them.
   */
  async heal(silently = false): Promise<void> {
    if (!this.#listener) await this.#listen();
    if (!silently) for (const link of this.#links) if (link.isLost) reset(link);
    this.#isHole = false;
    this.#delay = 0;
    for (const { ways } of this.#links) for (const way of ways) way.flush();
  }

  /** Closes the engine's ends of what was lost, as its keep-alive would in time. */
  forgetLost(): void {
    for (const server of this.#lost) server.destroy();
    this.#lost.clear();
  }

  async stop(): Promise<void> {
    await this.goDown();
    this.forgetLost();
  }

  /** Another process may be using the port for a moment, for a connection of its own. */
  async #listen(): Promise<void> {
    const tryToListen = (): Promise<boolean> =>
      new Promise(resolve => {
        const listener = createServer({ noDelay: true }, client => this.#accept(client));
        listener.once('error', () => resolve(false));
        listener.listen(this.port, '127.0.0.1', () => {
          this.#listener = listener;
          resolve(true);
        });
      });
    await until(tryToListen, `port ${this.port}`);
  }

  #accept(client: Socket): void {
    const link: Link = { client, server: undefined, ways: [], isLost: this.#isHole };
    this.#links.add(link);
    if (link.isLost) client.resume();
    else this.#join(link);
    client.on('error', () => undefined).on('close', () => this.#leave(link));
  }

  #join(link: Link): void {
    const { client } = link;
    const server = connect({ port: this.enginePort, host: '127.0.0.1', noDelay: true });
    const delay = (): number => this.#delay;
    link.server = server;
    link.ways = [new Way(client, server, delay), new Way(server, client, delay)];
    server.on('error', () => undefined).on('close', () => client.destroy());
  }

  #leave(link: Link): void {
    this.#links.delete(link);
    if (link.isLost && link.server) this.#lost.add(link.server);
    else link.server?.destroy();
  }
}

function reset({ client, server }: Link): void {
  client.resetAndDestroy();
  server?.destroy();
}
