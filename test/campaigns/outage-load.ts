import { setTimeout as wait } from 'node:timers/promises';
import type { SessionBackend } from 'routing-controllers-sessions';
import { until } from '../support/engines.js';
import type { HttpAnswer, HttpServer } from '../support/http-server.js';

/** Milliseconds that a 503 may take on top of the deadline before it is counted as late: the machine has other work. */
export const MARGIN = 500;

/** Milliseconds after which an answer counts as none. */
const PATIENCE = 20_000;

/** Milliseconds between two requests of one client. */
const PAUSE = 10;

const READERS = 3;
const TABS = 4;
const VISITORS = 2;

/** Milliseconds between two requests that are sent whether or not those before were answered, as the world does. */
const CROWD = 100;

/** What clients of an application saw. */
export class Sightings {
  requests = 0;
  unavailable = 0;
  late = 0;
  /** Milliseconds that the slowest 503 took. */
  slowest = 0;
  readonly wrong: string[] = [];
}

interface Login {
  token: string;
  id: string;
}

interface Surroundings {
  server: HttpServer;
  /** What the application keeps its sessions in, not by way of the broken network. */
  store: SessionBackend;
  /** Milliseconds of `backendTimeout`. */
  deadline: number;
}

/**
 * Clients that use an application all the time, and look at each answer: it must be right, or 503. What an answer says is
 * written is looked up in the store at once.
 */
export class OutageLoad {
  readonly sightings = new Sightings();
  readonly #clients = new Map<string, Promise<void>>();
  /** When clients first were given an answer to what they asked since the mark. */
  readonly #served = new Map<string, number>();
  #lastRefused = 0;
  #mark = 0;
  #isOver = false;
  #names = 0;
  #counter: Login | undefined;
  #increments = 0;
  /** The counts that the application said are stored. */
  readonly #counts = new Set<number>();
  /** Ids of sessions whose log-in was acknowledged and that nobody ended; and of those whose ending was acknowledged. */
  readonly #kept = new Set<string>();
  readonly #ended = new Set<string>();
  /** Users whose log-in failed. */
  readonly #refused: string[] = [];

  constructor(private readonly surroundings: Surroundings) {}

  /** Logs its users in, and lets them begin. The store must be well. */
  async start(): Promise<void> {
    // A process that was busy compiling may have lost its connection meanwhile.
    const { server } = this.surroundings;
    await until(async () => (await server.send('POST', '/login?as=first')).status === 200, 'the application');
    const ghost = await this.#enterFirst('ghost');
    await this.#leave('ghost', ghost);
    const [reader, counter, writer] = [
      await this.#enterFirst('reader'),
      await this.#enterFirst('counter'),
      await this.#enterFirst('writer'),
    ];
    this.#counter = counter;
    for (let n = 0; n < READERS; n++) this.#add(`reader ${n}`, name => this.#read(name, '/secure', reader));
    this.#add('optional reader', name => this.#read(name, '/optional', reader));
    this.#add('stranger', name => this.#readAsNobody(name));
    this.#add('ghost', name => this.#expectDead(name, ghost));
    for (let n = 0; n < TABS; n++) this.#add(`tab ${n}`, name => this.#count(name, counter));
    this.#add('writer', name => this.#write(name, writer));
    for (let n = 0; n < VISITORS; n++) this.#add(`visitor ${n}`, name => this.#visit(name));
    this.#add('careful visitor', name => this.#visitTwice(name));
    this.#add('crowd', name => this.#sendOn(name, reader));
    this.mark();
    await this.everybodyServed();
  }

  /** Recovery is measured from here. */
  mark(): void {
    this.#served.clear();
    this.#lastRefused = 0;
    this.#mark = performance.now();
  }

  /** Resolves when each client was given an answer, other than 503, to what it asked since the mark. */
  async everybodyServed(): Promise<void> {
    await until(() => this.#unserved.length === 0, 'answers').catch((error: unknown) => {
      throw new Error(`Not served: ${this.#unserved.join(', ')}`, { cause: error });
    });
  }

  /** Milliseconds since the mark: until the first right answer, and until the last was asked that got a 503. */
  get recovery(): { first: number; last: number } {
    const { stranger: _needsNoStore, ...served } = Object.fromEntries(this.#served);
    return {
      first: Math.min(...Object.values(served)) - this.#mark,
      last: Math.max(0, this.#lastRefused - this.#mark),
    };
  }

  /** Looks up all that was acknowledged so far: sessions are there, ended ones are not, no count was lost or made up. */
  async inspect(): Promise<void> {
    const { store } = this.surroundings;
    const acknowledged = this.#counts.size;
    for (const id of this.#kept) if (!(await store.read(id))) this.#wrong('a session is lost that was acknowledged');
    for (const id of this.#ended) if (await store.read(id)) this.#wrong('a session is back that was ended');
    this.#kept.clear();
    const { count } = await this.#stored<{ count: number }>(this.#counter!);
    if (count < acknowledged) this.#wrong(`${acknowledged} increments were acknowledged, ${count} are stored`);
    if (count > this.#increments) this.#wrong(`${this.#increments} increments were sent, ${count} are stored`);
  }

  /** Lets the clients finish. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#clients.values());
  }

  /** How many sessions there are that nobody has a token of: left by log-ins whose failure could not be undone. */
  async countOrphans(): Promise<number> {
    const left = this.#refused.map(user => this.surroundings.store.listByPrincipal(user));
    return (await Promise.all(left)).flat().length;
  }

  get #unserved(): string[] {
    return [...this.#clients.keys()].filter(name => !this.#served.has(name));
  }

  #add(name: string, round: (name: string) => Promise<void>): void {
    const live = async (): Promise<void> => {
      while (!this.#isOver) {
        await round(name);
        await wait(PAUSE);
      }
    };
    this.#clients.set(name, live());
  }

  #wrong(what: string): void {
    this.sightings.wrong.push(what);
  }

  /** One question. `undefined`: it was answered 503, or not at all, and that is noted. */
  async #ask(name: string, method: string, path: string, token?: string): Promise<HttpAnswer | undefined> {
    const { server, deadline } = this.surroundings;
    const { sightings } = this;
    const asked = performance.now();
    sightings.requests++;
    const answer = await server.send(method, path, token, AbortSignal.timeout(PATIENCE)).catch(String);
    if (typeof answer === 'string') {
      this.#wrong(`${name}: ${method} ${path}: no answer: ${answer}`);
      return undefined;
    }
    if (answer.status !== 503) {
      if (!this.#served.has(name) && asked >= this.#mark) this.#served.set(name, performance.now());
      return answer;
    }
    const took = performance.now() - asked;
    sightings.unavailable++;
    sightings.late += took > deadline + MARGIN ? 1 : 0;
    sightings.slowest = Math.max(sightings.slowest, took);
    if (asked > this.#lastRefused) this.#lastRefused = asked;
    const isRight =
      answer.headers['retry-after'] === '1' && answer.token === undefined && answer.body.includes('_UNAVAILABLE');
    if (!isRight) this.#wrong(`${name}: a 503 with ${JSON.stringify(answer.headers)} ${answer.body}`);
    return undefined;
  }

  #expect(name: string, answer: HttpAnswer, isRight: boolean): void {
    if (!isRight)
      this.#wrong(`${name}: ${answer.status} ${answer.body}, token: ${answer.token === undefined ? 'kept' : 'set'}`);
  }

  async #read(name: string, path: string, { token }: Login): Promise<void> {
    const answer = await this.#ask(name, 'GET', path, token);
    if (answer) this.#expect(name, answer, isPlain(answer) && answer.body === '{"username":"reader"}');
  }

  /** Waits for no answer before it asks again. */
  async #sendOn(name: string, reader: Login): Promise<void> {
    const under: Promise<void>[] = [];
    while (!this.#isOver) {
      under.push(this.#read(name, '/secure', reader));
      await wait(CROWD);
    }
    await Promise.all(under);
  }

  /** Nothing of it takes a store. */
  async #readAsNobody(name: string): Promise<void> {
    const refused = this.sightings.unavailable;
    const answer = await this.#ask(name, 'GET', '/optional');
    if (answer) this.#expect(name, answer, isPlain(answer) && answer.body === '{"username":null}');
    else if (this.sightings.unavailable > refused) this.#wrong(`${name}: 503 without a session`);
  }

  async #expectDead(name: string, { token }: Login): Promise<void> {
    const answer = await this.#ask(name, 'GET', '/secure', token);
    if (answer) this.#expect(name, answer, answer.status === 403 && answer.token === undefined);
  }

  async #count(name: string, counter: Login): Promise<void> {
    this.#increments++;
    const answer = await this.#ask(name, 'POST', '/count', counter.token);
    if (!answer) return;
    this.#expect(name, answer, isPlain(answer));
    const { count } = JSON.parse(answer.body) as { count: number };
    if (this.#counts.has(count)) this.#wrong(`${name}: two increments made ${count}`);
    this.#counts.add(count);
    const stored = await this.#stored<{ count: number }>(counter);
    if (stored.count < count) this.#wrong(`${name}: ${count} was acknowledged, ${stored.count} is stored`);
  }

  async #write(name: string, writer: Login): Promise<void> {
    const text = `note-${this.#names++}`;
    const answer = await this.#ask(name, 'POST', `/note?text=${text}`, writer.token);
    if (!answer) return;
    this.#expect(name, answer, isPlain(answer));
    const { note } = await this.#stored<{ note: string }>(writer);
    if (note !== text) this.#wrong(`${name}: ${text} was acknowledged, ${note} is stored`);
  }

  async #visit(name: string): Promise<void> {
    const login = await this.#enter(name, `${name} ${this.#names++}`);
    if (!login) return;
    if (this.#names % 2 === 0) this.#kept.add(login.id);
    else await this.#leave(name, login);
  }

  /** On two devices; leaves both at once. */
  async #visitTwice(name: string): Promise<void> {
    const user = `${name} ${this.#names++}`;
    const [first, second] = [await this.#enter(name, user), await this.#enter(name, user)];
    if (first && second) await this.#leave(name, first, '/everywhere', second);
  }

  async #enterFirst(user: string): Promise<Login> {
    const login = await this.#enter(user, user);
    if (!login) throw new Error(`${user} could not log in`);
    return login;
  }

  async #enter(name: string, user: string): Promise<Login | undefined> {
    const answer = await this.#ask(name, 'POST', `/login?as=${encodeURIComponent(user)}`);
    if (!answer) {
      this.#refused.push(user);
      return undefined;
    }
    const { token = '' } = answer;
    this.#expect(name, answer, answer.status === 200 && token !== '');
    const { id } = JSON.parse(answer.body) as { id: string };
    if (!(await this.surroundings.store.read(id))) this.#wrong(`${name}: a log-in was acknowledged that is not stored`);
    return { token, id };
  }

  /** Asks until there is an answer. One that had no answer may have been done, too: then there is nobody to log out. */
  async #leave(name: string, login: Login, path = '/logout', ...others: Login[]): Promise<void> {
    let answer = await this.#ask(name, 'POST', path, login.token);
    const isSure = answer !== undefined;
    while (!answer && !this.#isOver) {
      await wait(PAUSE);
      answer = await this.#ask(name, 'POST', path, login.token);
    }
    if (!answer) return;
    const isDone = answer.status === 200 && answer.token === '';
    const wasDone = !isSure && [200, 403].includes(answer.status) && answer.token === undefined;
    this.#expect(name, answer, isDone || wasDone);
    for (const { id, token } of [login, ...others]) {
      this.#ended.add(id);
      if (await this.surroundings.store.read(id))
        this.#wrong(`${name}: ${path} was acknowledged, and the session lives`);
      await this.#expectDead(name, { id, token });
    }
  }

  async #stored<D>({ id }: Login): Promise<D> {
    const record = await this.surroundings.store.read(id);
    if (!record) throw new Error('The session of a test is gone');
    return JSON.parse(record.data.slice(record.data.indexOf('{'))) as D;
  }
}

/** A success that leaves the cookie alone. */
function isPlain({ status, token }: HttpAnswer): boolean {
  return status === 200 && token === undefined;
}
