import { Agent, request } from 'node:http';

import { logIn } from '../load.js';

/** Requests a second: few for the server, so that the figures show delays, not its capacity. */
const RATE = 400;

/** One request in so many changes the session; the others only read it. */
const CHANGES = 5;

const SESSIONS = 500;

interface Answered {
  /** The time of sending, and the time until the answer, in milliseconds. */
  sent: number;
  taken: number;
}

/** Sends authenticated requests at a constant rate, whether or not answers arrive, until it is stopped. */
export class SteadyLoad {
  readonly #agent = new Agent({ keepAlive: true });
  readonly #answered: Answered[] = [];
  readonly #begun = performance.now();
  #count = 0;
  /** Outcomes of requests that were not answered with 200: the status, or the code of the error. */
  readonly #failed = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  private constructor(
    private readonly url: string,
    private readonly cookies: readonly string[],
  ) {}

  static async start(url: string): Promise<SteadyLoad> {
    const load = new SteadyLoad(url, await logIn(url, SESSIONS));
    load.#tick();
    return load;
  }

  /** The answer times of the requests that were sent while `work` ran, in milliseconds. */
  async during(work: () => Promise<unknown>): Promise<number[]> {
    const from = performance.now();
    await work();
    const to = performance.now();
    // Requests that still wait for their answers count.
    const sent = this.#count;
    while (this.#answered.length + this.#failures < sent) await new Promise(resolve => setTimeout(resolve, 5));
    return this.#answered.filter(answer => answer.sent >= from && answer.sent < to).map(({ taken }) => taken);
  }

  /** Ends the load. @returns one line for each way in which requests failed */
  stop(): string[] {
    clearTimeout(this.#timer);
    this.#agent.destroy();
    return [...this.#failed].map(([what, times]) => `${times} of ${this.#count} requests failed: ${what}`);
  }

  get #failures(): number {
    return [...this.#failed.values()].reduce((sum, times) => sum + times, 0);
  }

  #fail(what: string): void {
    this.#failed.set(what, (this.#failed.get(what) ?? 0) + 1);
  }

  #tick(): void {
    const due = ((performance.now() - this.#begun) * RATE) / 1000;
    while (this.#count < due) this.#send(this.#count++);
    this.#timer = setTimeout(() => this.#tick(), 1);
  }

  #send(n: number): void {
    const changes = n % CHANGES === 0;
    const sent = performance.now();
    const options = {
      method: changes ? 'POST' : 'GET',
      agent: this.#agent,
      headers: { cookie: this.cookies[n % this.cookies.length] },
    };
    request(`${this.url}${changes ? '/visit' : '/me'}`, options, response => {
      response.resume().once('end', () => {
        if (response.statusCode === 200) this.#answered.push({ sent, taken: performance.now() - sent });
        else this.#fail(`status ${String(response.statusCode)}`);
      });
    })
      .once('error', (error: NodeJS.ErrnoException) => this.#fail(error.code ?? error.message))
      .end();
  }
}
