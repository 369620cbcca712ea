import { createHash } from 'node:crypto';
import { inspect } from 'node:util';

import type { Context } from 'koa';
import {
  InMemoryBackend,
  Principal,
  type Session,
  SessionCookie,
  SessionData,
  SessionGoneError,
} from 'routing-controllers-sessions';

import type { Race } from '../support/every-interleaving.js';
import { contextFor, visit } from '../support/in-process.js';
import { type Lineage, RaceLedger } from '../support/race-ledger.js';
import { Scheduler, SchedulerBackend } from '../support/scheduler-backend.js';

/** What one request does with its session, one after the other; `[]` only loads it. */
export type Step = 'assign' | 'update' | 'rotate' | 'end' | 'endById' | 'endAll' | 'endOthers' | 'login';

export interface ClientPlan {
  /** Which server process answers it. */
  process: number;
  /** Whose cookies it sends; two clients with the same jar are two tabs of one browser. */
  jar: number;
  /** Its requests, one after the other, each with its steps. */
  requests: Step[][];
}

export interface RacePlan {
  /** For each jar its user, logged in before the race begins; `null`: never logged in. */
  jars: (string | null)[];
  clients: ClientPlan[];
  /** Whether every load writes a "last seen". */
  touchDue: boolean;
}

@SessionData
class RaceSession {
  @Principal() username!: string;
  count!: number;
  shared?: number;
  [field: `field${number}`]: number | undefined;

  /** Declares the fields: a property that the model does not declare is not stored. */
  constructor() {
    for (let n = 1; n <= MOST_FIELDS; n++) this[`field${n}`] = undefined;
  }
}

/** More assignments than one race makes. */
const MOST_FIELDS = 60;

interface Jar {
  user: string | null;
  token: string | undefined;
  /** Every token that it ever held. */
  history: string[];
}

interface Assigned {
  lineage: Lineage;
  field: `field${number}`;
  value: number;
}

const ABSOLUTE_TIMEOUT = 86_400;
const TOUCH_INTERVAL = 60;
const PROCESSES = 3;

/**
 * Several server processes with one store, and clients that race on it. Made once and used for many races: what a process
 * remembers of sessions it remembers by their ids, which never repeat.
 */
export class SessionRaces {
  readonly scheduler: Scheduler;
  #now = Date.UTC(2026, 0, 1);
  #store = new InMemoryBackend();
  #ledger = new RaceLedger(ABSOLUTE_TIMEOUT * 1000);
  #values = 0;
  readonly #processes: SessionCookie<RaceSession>[];
  /** Answers those that have no session. Whatever it asks of the store but to read is a problem. */
  readonly #anonymous: SessionCookie<RaceSession>;

  /** @param limit the number of sessions that a user may have */
  constructor(
    phases: 1 | 2,
    private readonly limit = Infinity,
  ) {
    this.scheduler = new Scheduler(phases, (effect, client) => {
      this.#ledger.note(effect);
      this.#ledger.assert(client !== 'anonymous' || effect.call === 'read', `an anonymous request did ${effect.call}`);
    });
    this.#processes = Array.from({ length: PROCESSES }, (_, index) => this.#makeProcess(`process ${index}`));
    this.#anonymous = this.#makeProcess('anonymous');
  }

  async start({ jars: users, clients, touchDue }: RacePlan): Promise<Race> {
    this.#store = new InMemoryBackend();
    this.#ledger = new RaceLedger(ABSOLUTE_TIMEOUT * 1000);
    this.#values = 0;
    const jars: Jar[] = [];
    for (const user of users) {
      const jar: Jar = { user, token: undefined, history: [] };
      if (user !== null) await this.#request(this.#processes[0]!, jar, ['login']);
      jars.push(jar);
    }
    this.#now += touchDue ? TOUCH_INTERVAL * 1000 : 1;
    this.scheduler.open = false;
    return {
      clients: Promise.all(clients.map(client => this.#run(client, jars[client.jar]!))),
      verify: () => this.#verify(jars),
    };
  }

  #makeProcess(name: string): SessionCookie<RaceSession> {
    return new SessionCookie<RaceSession>({
      dataModel: RaceSession,
      secretKey: '0123456789abcdef0123456789abcdef',
      backend: new SchedulerBackend(name, this.scheduler, () => this.#store),
      absoluteTimeout: ABSOLUTE_TIMEOUT,
      idleTimeout: ABSOLUTE_TIMEOUT / 2,
      touchInterval: TOUCH_INTERVAL,
      sweepInterval: 0,
      backendTimeout: 60,
      maxSessionsPerPrincipal: this.limit,
      clock: () => this.#now,
    });
  }

  async #run({ process, requests }: ClientPlan, jar: Jar): Promise<void> {
    for (const steps of requests) {
      const sessions = jar.user === null ? this.#anonymous : this.#processes[process]!;
      await this.#request(sessions, jar, steps);
    }
  }

  async #request(sessions: SessionCookie<RaceSession>, jar: Jar, steps: readonly Step[]): Promise<void> {
    const assigned: Assigned[] = [];
    const sent = jar.token;
    const { error, token } = await visit(sessions, { token: sent }, async ctx => {
      await this.#look(sessions, ctx, jar.user);
      for (const step of steps) await this.#take(step, sessions, ctx, jar.user, sent, assigned);
    });
    if (error === undefined)
      for (const { lineage, field, value } of assigned) this.#ledger.acknowledge(lineage, field, value);
    else if (!(error instanceof SessionGoneError)) this.#ledger.problems.push(`unexpected ${inspect(error)}`);

    if (token === undefined) return;
    if (token !== '') {
      this.#ledger.assert(this.#ledger.lineages.has(idOf(token)), 'a cookie without a record');
      jar.history.push(token);
    } else {
      const before = jar.history.at(-1);
      this.#ledger.assert(before === undefined || steps.some(endsOwn), 'a cookie cleared by one that ended nothing');
    }
    jar.token = token === '' ? undefined : token;
  }

  /** The request's session as its action sees it. */
  async #look(
    sessions: SessionCookie<RaceSession>,
    ctx: Context,
    user: string | null,
  ): Promise<Session<RaceSession> | undefined> {
    const session = await sessions.getSession(ctx);
    if (session) {
      this.#ledger.assert(session.data.username === user, 'a user saw what belongs to another');
      this.#ledger.assert(this.#ledger.lineages.has(session.id), 'a session that nobody made');
    }
    return session;
  }

  async #take(
    step: Step,
    sessions: SessionCookie<RaceSession>,
    ctx: Context,
    user: string | null,
    sent: string | undefined,
    assigned: Assigned[],
  ): Promise<void> {
    const ledger = this.#ledger;
    if (user === null) return;
    const session = await this.#look(sessions, ctx, user);
    const lineage = session && ledger.lineages.get(session.id);
    if (step === 'endAll' || step === 'endOthers') {
      const spared = step === 'endOthers' ? session?.id : undefined;
      const older = ledger.living(user).filter(each => spared === undefined || each !== ledger.lineages.get(spared));
      await sessions.endSessions(user, spared === undefined ? {} : { except: spared });
      ledger.assert(!older.some(({ alive }) => alive), `${step} left a session that was there before`);
      if (step === 'endAll') assigned.length = 0;
      return;
    }
    if (step === 'login') {
      const before = sent === undefined ? undefined : ledger.lineages.get(idOf(sent));
      const older = this.limit === 1 ? ledger.living(user) : [];
      assigned.length = 0;
      const { id } = await sessions.createSession({ username: user, count: 0 }, ctx);
      ledger.assert(!older.some(({ alive }) => alive), 'a log-in left a session over the limit');
      ledger.assert(ledger.lineages.has(id), 'logged in before the record was stored');
      const isOpen = before?.alive === true && sent !== undefined && before.proof === hashOf(sent);
      ledger.assert(!isOpen, 'logged in before the earlier session was ended');
      return;
    }
    if (!session || !lineage) return;
    const { id } = session;
    switch (step) {
      case 'assign': {
        const value = ++this.#values;
        session.data[`field${value}`] = value;
        session.data.shared = value;
        assigned.push({ lineage, field: `field${value}`, value });
        break;
      }
      case 'update':
        await session.update(data => {
          data.count++;
        });
        ledger.acknowledgeUpdate(lineage);
        break;
      case 'rotate':
        await session.rotate();
        ledger.assert(session.id === id, 'a rotation changed the id');
        ledger.assert(sent === undefined || lineage.proof !== hashOf(sent), 'rotated before the old token was dead');
        break;
      case 'end':
      case 'endById':
        if (step === 'end') await session.end();
        else await sessions.endSession(id, ctx);
        ledger.assert(!ledger.isAlive(id), 'ended before the record was gone');
        assigned.length = 0;
        break;
    }
  }

  /** Asks a process for every token that was ever handed out: the answers must be what the books say. */
  async #verify(jars: readonly Jar[]): Promise<void> {
    const ledger = this.#ledger;
    ledger.close();
    const tokens = jars.flatMap(({ history }) => history);
    for (const token of tokens) {
      const lineage = ledger.lineages.get(idOf(token))!;
      const session = await this.#processes[0]!.getSession(contextFor({ token }));
      const opens = lineage.alive && lineage.proof === hashOf(token);
      ledger.assert((session !== undefined) === opens, 'an answer differs from what is stored');
      if (session) ledger.assert(isSame(session.data, lineage), 'data differs from what is stored');
    }
    const handedOut = new Set(tokens.map(hashOf));
    for (const { proof } of ledger.living()) ledger.assert(handedOut.has(proof), 'a record without its cookie');
    ledger.assert(this.#store.size === ledger.living().length, `${this.#store.size} records in the store`);
    if (ledger.problems.length > 0) throw new Error(ledger.problems.join('; '));
  }
}

function endsOwn(step: Step): boolean {
  return step === 'end' || step === 'endById' || step === 'endAll' || step === 'endOthers';
}

function isSame(data: RaceSession, lineage: Lineage): boolean {
  return JSON.stringify(data) === JSON.stringify(lineage.data);
}

function idOf(token: string): string {
  return token.slice(0, token.indexOf('.'));
}

/** What the record of a token's session holds as its proof: the SHA-256 of the secret. */
function hashOf(token: string): string {
  return createHash('sha256')
    .update(Buffer.from(token.split('.')[1]!, 'base64url'))
    .digest('base64url');
}
