import { Agent, request } from 'node:http';

import { logIn } from '../load.js';

/** Requests a second: little for the server, so that what is measured is who is in its way, not how much it can do. */
const RATE = 400;

/** One request in so many changes the session; the others only read it. */
const CHANGES = 5;

const SESSIONS = 500;

interface Answered {
  /** When it was sent, and how long its answer took; milliseconds. */
  sent: number;
  taken: number;
}

/** Authenticated requests at a constant rate, whatever the answers take, until it is stopped. */
export class SteadyLoad {
  readonly #agent = new Agent({ keepAlive: true });
  readonly #answered: Answered[] = [];
  readonly #begun = performance.now();
  #count = 0;
  #failed = 0;
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

  /** How long each request took that was sent while `work` was under way; milliseconds. */
  async during(work: () => Promise<unknown>): Promise<number[]> {
    const from = performance.now();
    await work();
    const to = performance.now();
    // Those that are still on their way belong to it, too.
    const sent = this.#count;
    while (this.#answered.length + this.#failed < sent) await new Promise(resolve => setTimeout(resolve, 5));
    return this.#answered.filter(answer => answer.sent >= from && answer.sent < to).map(({ taken }) => taken);
  }

  /** @throws Error when a request failed or was not answered with 200 */
  stop(): void {
    clearTimeout(this.#timer);
    this.#agent.destroy();
    if (this.#failed > 0) throw new Error(`${this.#failed} of ${this.#count} requests failed`);
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
        else this.#failed++;
      });
    })
      .once('error', () => this.#failed++)
      .end();
  }
}
