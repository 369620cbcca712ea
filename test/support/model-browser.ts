import type { Context } from 'koa';
import {
  Principal,
  type Session,
  type SessionBackend,
  SessionCookie,
  type SessionCookieOptions,
  SessionData,
  type SessionEvents,
} from 'routing-controllers-sessions';

import type { SeededRandom } from '../../src/testing/random.js';
import { Clock } from './clock.js';
import { FaultyBackend } from './faulty-backend.js';
import { contextFor, cookieOf } from './in-process.js';
import { ToldBackend } from './told-backend.js';

@SessionData
export class UserSession {
  @Principal() username!: string;
  count = 0;
}

/** The least step of time in a model, in seconds: many things happen at the same one. */
const STEP = 0.05;

interface Happening {
  at: number;
  run: () => unknown;
}

/** Time that passes from one thing that happens to the next. */
export class Timeline {
  #happenings: Happening[] = [];
  #now = 0;

  constructor(private readonly clock: Clock) {}

  /** Steps since it began. */
  get now(): number {
    return this.#now;
  }

  /** What happens at one instant begins in this order, and goes on side by side. */
  after(seconds: number, run: () => unknown): void {
    this.#happenings.push({ at: this.#now + Math.round(seconds / STEP), run });
  }

  /** Ends when nothing is to happen any more. */
  async run(): Promise<void> {
    while (this.#happenings.length > 0) {
      const at = Math.min(...this.#happenings.map(happening => happening.at));
      this.clock.advance((at - this.#now) * STEP);
      this.#now = at;
      const due = this.#happenings.filter(happening => happening.at === at);
      this.#happenings = this.#happenings.filter(happening => happening.at !== at);
      await Promise.all(due.map(({ run }) => run()));
    }
  }
}

type Options = Partial<SessionCookieOptions<UserSession>>;

/** Several processes with one store and one clock. */
export class Fleet {
  readonly clock = new Clock();
  readonly nodes: SessionCookie<UserSession>[];
  readonly ended: SessionEvents['ended'][] = [];

  private constructor(options: Options, nodes: readonly Options[]) {
    const fixed = { dataModel: UserSession, secretKey: 'k'.repeat(32), sweepInterval: 0, clock: this.clock.now };
    this.nodes = nodes.map(node => {
      const sessions = new SessionCookie({ ...fixed, ...options, ...node });
      sessions.on('ended', event => this.ended.push(event));
      sessions.on('unavailable', () => undefined);
      return sessions;
    });
  }

  /** One process that has the store in its memory, one that asks it for each record and may fail, one with a near-cache. */
  static inMemory(faulty: FaultyBackend, options: Options): Fleet {
    const { store } = faulty;
    return new Fleet(options, [
      { backend: store },
      { backend: faulty },
      { backend: new ToldBackend(store), nearCache: true },
    ]);
  }

  /** Three processes on one engine. */
  static on(backend: SessionBackend, options: Options): Fleet {
    return new Fleet(options, [{ backend }, { backend }, { backend }]);
  }

  /** Begins anew, with one session. */
  async logIn(): Promise<string> {
    await this.nodes[0]!.endSessions('ada');
    this.ended.length = 0;
    const ctx = contextFor();
    await this.nodes[0]!.createSession({ username: 'ada', count: 0 }, ctx);
    return cookieOf(ctx)!;
  }

  /** Returns how often the data of a token's session was changed. */
  async count(token: string): Promise<number> {
    return (await this.nodes[0]!.getSession(contextFor({ token })))?.data.count ?? NaN;
  }

  close(): Promise<unknown> {
    return Promise.all(this.nodes.map(node => node.close()));
  }
}

/** One request of a model browser. Durations are seconds. */
export interface Visit {
  /** The way to the server, the time that the action takes, and the way back. */
  up: number;
  work: number;
  down: number;
  node: number;
  does: 'reads' | 'polls' | 'changes' | 'updates' | 'rotates' | 'proves';
  /** `lost`: the client does not get the answer. `gone`: it goes away before the answer begins. */
  answer: 'good' | 'error' | 'thrown' | 'lost' | 'gone';
  /** The grace period of a rotation. */
  grace?: number;
}

/** The result of a visit as the server saw it. */
export interface Visited {
  readonly visit: Visit;
  readonly sentAt: number;
  /** What the request sent, and what the answer set. */
  readonly sent: string | undefined;
  token: string | undefined;
  /** When the server loaded the session, and whether there was one. */
  loadedAt: number;
  isLoggedIn: boolean;
  error: unknown;
  /** When the server had the answer ready. */
  answeredAt: number;
  /** When the cookie of the answer was in the jar. */
  arrivedAt: number;
}

class Failure extends Error {}

/** A browser: one jar, any number of requests under way. An answer's cookie goes into the jar when it arrives. */
export class ModelBrowser {
  readonly visited: Visited[] = [];
  /** The latest arrival of a cookie that is on its way. */
  #arrival = 0;

  /** @param keeps `false`: a program that has a copy of a cookie, and does not look at what answers set */
  constructor(
    private readonly timeline: Timeline,
    private readonly fleet: Fleet,
    public jar: string | undefined,
    private readonly keeps = true,
  ) {}

  /** Sends a request now. */
  send(visit: Visit): void {
    const { timeline } = this;
    const visited: Visited = {
      visit,
      sentAt: timeline.now,
      sent: this.jar,
      token: undefined,
      loadedAt: NaN,
      isLoggedIn: false,
      error: undefined,
      answeredAt: NaN,
      arrivedAt: NaN,
    };
    timeline.after(visit.up, () => this.#arrive(visited));
  }

  /** Resolves when the server has answered, or waits for time to pass. */
  #arrive(visited: Visited): Promise<void> {
    const { visit, sent } = visited;
    const sessions = this.fleet.nodes[visit.node]!;
    const ctx = contextFor({ token: sent });
    return new Promise<void>((waits, fails) => {
      const act = async (): Promise<void> => {
        visited.loadedAt = this.timeline.now;
        const session = await sessions.getSession(ctx);
        visited.isLoggedIn = session !== undefined;
        if (visit.work > 0) {
          await new Promise<void>(goOn => {
            this.timeline.after(visit.work, () => {
              goOn();
              return answered;
            });
            waits();
          });
        }
        await run(visit, ctx, session);
      };
      const guard = sessions.requireSession({ autoError: false, touch: visit.does !== 'polls' });
      const answered = guard(ctx, act)
        .then(
          () => undefined,
          (error: unknown) => error,
        )
        .then((error: unknown) => this.#answer(visited, ctx, error))
        .then(waits, fails);
    });
  }

  #answer(visited: Visited, ctx: Context, error: unknown): void {
    const { visit } = visited;
    visited.error = error instanceof Failure ? undefined : error;
    visited.answeredAt = this.timeline.now;
    visited.token = cookieOf(ctx);
    this.visited.push(visited);
    if (visit.answer === 'lost' || visit.answer === 'gone' || visited.token === undefined || !this.keeps) return;
    const token = visited.token;
    // A rotation that was asked for makes earlier tokens worthless, also one on its way: its own does not overtake that.
    const isRotation = visit.does === 'rotates' || visit.does === 'proves';
    const arrival = this.timeline.now + Math.round(visit.down / STEP);
    const at = isRotation ? Math.max(arrival, this.#arrival) : arrival;
    this.#arrival = Math.max(this.#arrival, at);
    visited.arrivedAt = at;
    this.timeline.after((at - this.timeline.now) * STEP, () => (this.jar = token === '' ? undefined : token));
  }
}

async function run(visit: Visit, ctx: Context, session: Session<UserSession> | undefined): Promise<void> {
  if (visit.answer === 'gone') {
    Object.defineProperty(ctx.res, 'closed', { value: true });
    ctx.res.emit('close');
  }
  if (visit.answer === 'error') ctx.status = 500;
  if (!session) return;
  if (visit.does === 'changes') session.data.count++;
  if (visit.does === 'updates') await session.update(data => data.count++);
  if (visit.does === 'rotates') await session.rotate({ grace: visit.grace ?? 0 });
  if (visit.does === 'proves') await session.prove('otp');
  if (visit.answer === 'thrown') throw new Failure();
}

/** Seconds of one way of a request, as networks have them. */
function leg(random: SeededRandom): number {
  return random.pick([0, 0, 0.1, 0.2, 0.5, 1, 2, 3]);
}

/** The number of processes of a fleet. */
const NODES = 3;

/** A request as people and pages send them. */
export function randomVisit(random: SeededRandom): Visit {
  const does = random.pick([
    ...(['reads', 'reads', 'reads', 'reads', 'polls', 'polls', 'polls'] as const),
    ...(['changes', 'changes', 'updates'] as const),
  ]);
  const answer = random.pick([...Array<'good'>(10).fill('good'), 'error', 'thrown', 'lost', 'lost', 'gone'] as const);
  const work = random.pick([0, 0, 0, 0, 0.1, 0.5, 2, 12, 25]);
  return { up: leg(random), work, down: leg(random), node: random.integer(NODES), does, answer };
}
