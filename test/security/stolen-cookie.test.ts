import 'reflect-metadata';

import { SeededRandom } from '../../src/testing/random.js';
import { SessionGoneError, SessionUnavailableError } from 'routing-controllers-sessions';

import { FaultyBackend } from '../support/faulty-backend.js';
import { Fleet, ModelBrowser, randomVisit, Timeline, type Visit, type Visited } from '../support/model-browser.js';
import { counted, rounds } from '../support/rounds.js';
import { seed } from '../support/seed.js';

const HOUR = 3_600;

const read = (node = 0): Visit => ({ up: 0, work: 0, down: 0, node, does: 'reads', answer: 'good' });

const fleets = new Map<number, Fleet>();
afterAll(() => Promise.all([...fleets.values()].map(fleet => fleet.close())));

const faulty = new FaultyBackend();

/** The same processes for all lives with one `rotateEvery`: what they remember of sessions they remember by their ids. */
function fleetOf(every: number): Fleet {
  const fleet = fleets.get(every) ?? Fleet.inMemory(faulty, { rotateEvery: every });
  fleets.set(every, fleet);
  return fleet;
}

/** How long a page waits, or a person, or a browser that was closed. */
function pause(random: SeededRandom, every: number): number {
  return random.pick([0, 0, 0.1, 0.3, 1, 3, 9.9, 10, 10.1, 15, every - 0.1, every, every + 0.1, 2 * every, HOUR]);
}

/** What went wrong in an honest life, if anything did. */
async function live(random: SeededRandom): Promise<{ wrong: unknown; exchanges: number }> {
  const every = random.pick([1, 2, 5, 10, 30, 60, 300]);
  const fleet = fleetOf(every);
  const timeline = new Timeline(fleet.clock);
  const browser = new ModelBrowser(timeline, fleet, await fleet.logIn());
  let at = 0;
  for (let n = 0; n < 20; n++) {
    at += pause(random, every);
    const together = random.pick([1, 1, 1, 2, 3, 6]);
    for (let tab = 0; tab < together; tab++) {
      const visit = randomVisit(random);
      timeline.after(at + random.pick([0, 0, 0.1, 1]), () => browser.send(visit));
    }
    if (random.integer(12) === 0) {
      const does = random.pick(['rotates', 'proves'] as const);
      const visit: Visit = { ...randomVisit(random), work: 0, does, answer: 'good', grace: random.pick([0, 0, 5]) };
      timeline.after(at, () => browser.send(visit));
    }
    if (random.integer(10) === 0) {
      const fault = random.pick(['refuses', 'breaks'] as const);
      faulty.affects = call => call === 'update';
      timeline.after(at, () => void (faulty.fault = fault));
      timeline.after(at + 0.5, () => void (faulty.fault = 'none'));
    }
  }
  await timeline.run();
  timeline.after(pause(random, every), () => browser.send(read(random.integer(3))));
  await timeline.run();
  const overtaken = browser.visited.find(visited => isOvertaken(visited, browser.visited));
  const seen = browser.visited.filter(({ loadedAt }) => !overtaken || loadedAt < overtaken.loadedAt);
  const wrong = seen.find(visited => isWrong(visited, browser.visited)) ?? (overtaken ? undefined : fleet.ended[0]);
  const exchanges = browser.visited.filter(({ token }) => token !== undefined).length;
  return { wrong, exchanges };
}

/**
 * A rotation overtook the answer that brought the request's token: that one was over when it arrived, and took the place of the new
 * one in the jar. What is asked from then on is as good as stolen.
 */
function isOvertaken({ sent, loadedAt }: Visited, all: readonly Visited[]): boolean {
  const brought = all.find(({ token }) => token !== undefined && token === sent);
  return (
    brought !== undefined &&
    all.some(
      ({ visit, token, answeredAt, arrivedAt }) =>
        (visit.does === 'rotates' || visit.does === 'proves') &&
        token !== undefined &&
        brought.answeredAt <= answeredAt &&
        answeredAt <= loadedAt &&
        arrivedAt <= brought.arrivedAt,
    )
  );
}

/** A request is anonymous only if a rotation that was asked for came first while it was under way. */
function isWrong({ isLoggedIn, sentAt, loadedAt, error }: Visited, all: readonly Visited[]): boolean {
  if (error instanceof SessionUnavailableError || error instanceof SessionGoneError) return false;
  if (error !== undefined) return true;
  const isRotated = all.some(
    ({ visit, answeredAt, arrivedAt }) =>
      (visit.does === 'rotates' || visit.does === 'proves') && answeredAt <= loadedAt && !(arrivedAt < sentAt),
  );
  return !isLoggedIn && !isRotated;
}

const honest = rounds(10_000, 300);
test(`ID-9: ${counted(honest)} lives of an honest browser: nobody is logged out`, async () => {
  let exchanges = 0;
  for (let n = 0; n < honest; n++) {
    const life = await live(new SeededRandom(seed + n));
    exchanges += life.exchanges;
    expect({ seed: seed + n, wrong: life.wrong }).toEqual({ seed: seed + n, wrong: undefined });
  }
  expect(exchanges).toBeGreaterThan(honest);
}, 1_800_000);

/** What a use of a token must lead to, by what happened before. */
type Verdict = 'opens' | 'may open' | 'may be noticed' | 'is noticed' | 'is refused';

/** Steps of the timeline in the ten seconds for which a token is good that was exchanged. */
const LEEWAY = 200;

/** The tokens that may be handed out for one until one of them is seen. */
const MOST_UNSEEN = 3;

/** The judge of a theft: knows which token was issued in exchange for which, and when each was used. */
class Judge {
  readonly #parents = new Map<string, string>();
  readonly #issued: { token: string; parent: string | undefined; at: number }[];
  /** Uses and rotations, each with the token that counts from then on. */
  readonly #turns: { token: string; at: number; isRotation: boolean }[] = [];

  /** @param all in the order in which the server saw them */
  constructor(all: readonly Visited[]) {
    for (const { sent, token } of all) if (token) this.#parents.set(token, sent!);
    this.#issued = all
      .flatMap(({ sent, token, answeredAt }) => (token ? [{ token, parent: sent, at: answeredAt }] : []))
      .sort((one, other) => one.at - other.at);
    const turns = all.flatMap(({ sent, token, loadedAt, answeredAt, visit }) => [
      ...(sent === undefined ? [] : [{ token: sent, at: loadedAt, isRotation: false }]),
      ...(visit.does === 'proves' && token ? [{ token, at: answeredAt, isRotation: true }] : []),
    ]);
    for (const turn of turns.sort((one, other) => one.at - other.at))
      // Whoever uses a token that others have left behind proves nothing of those.
      if (turn.isRotation || this.#against(turn.token, turn.at - 1).length === 0) this.#turns.push(turn);
  }

  /** Nothing is certain of what happens at one instant. */
  verdictOn({ sent, loadedAt }: Visited): Verdict {
    const against = this.#against(sent!, loadedAt);
    if (against.some(({ at }) => at + LEEWAY <= loadedAt)) return 'is noticed';
    if (against.some(({ at, isRotation }) => isRotation && at < loadedAt)) return 'is refused';
    if (against.length > 0) return 'may open';
    return this.#isCrowdedOut(sent!, loadedAt) ? 'may be noticed' : 'opens';
  }

  /** The earlier token was used and exchanged so often since that this one, which nobody has sent, was given up as lost. */
  #isCrowdedOut(token: string, at: number): boolean {
    const children = this.#issued.filter(issued => issued.parent === this.#parents.get(token) && issued.at <= at);
    const isUsed = this.#turns.some(turn => turn.token === token && turn.at < at);
    return !isUsed && children.length - children.findIndex(child => child.token === token) > MOST_UNSEEN;
  }

  /** The turns up to an instant that were not on the way to a token, from the last rotation on that was. */
  #against(token: string, at: number) {
    const line = new Set<string>();
    for (let each: string | undefined = token; each !== undefined; each = this.#parents.get(each)) line.add(each);
    const from = this.#turns.filter(({ token: own, isRotation }) => isRotation && line.has(own)).at(-1)?.at ?? 0;
    return this.#turns.filter(turn => turn.at >= from && turn.at <= at && !line.has(turn.token));
  }
}

interface Theft {
  wrong: unknown;
  isNoticed: boolean;
  /** Whether the one who was noticed is the thief, and how often the two had come by then. */
  isThief: boolean;
  uses: number;
}

/** A cookie is copied at some instant; both go on using it, until that is noticed. */
async function steal(random: SeededRandom): Promise<Theft> {
  const every = random.pick([1, 5, 30, 300]);
  const fleet = fleetOf(every);
  const timeline = new Timeline(fleet.clock);
  const victim = new ModelBrowser(timeline, fleet, await fleet.logIn());
  const proves = random.integer(4) === 0;
  const visit = (): Visit => ({
    ...randomVisit(random),
    answer: random.pick(['good', 'good', 'good', 'good', 'error', 'lost']),
    work: random.pick([0, 0, 0, 1]),
  });
  let at = 0;
  for (let n = random.integer(12); n > 0; n--) {
    at += pause(random, every);
    timeline.after(at, () => victim.send(visit()));
  }
  let thief: ModelBrowser | undefined;
  const keeps = random.integer(3) > 0;
  at += random.pick([0, 0.1, 0.5, 1, 5, 60]);
  timeline.after(at, () => (thief = new ModelBrowser(timeline, fleet, victim.jar, keeps)));
  for (let n = 0; n < 150; n++) {
    at += pause(random, every);
    const isThiefs = random.integer(2) === 0;
    const next: Visit =
      proves && !isThiefs && random.integer(5) === 0 ? { ...visit(), does: 'proves', answer: 'good' } : visit();
    // Between the steps of the victim, so that the judge can tell who came first.
    timeline.after(isThiefs ? at + 0.05 : at, () => {
      if (fleet.ended.length === 0) (isThiefs ? thief! : victim).send(next);
    });
  }
  await timeline.run();

  // Of those at one instant the one that ended the session first, because it was gone for the others.
  const all = [...victim.visited, ...thief!.visited].sort(
    (one, other) => one.loadedAt - other.loadedAt || Number(other.token === '') - Number(one.token === ''),
  );
  const judge = new Judge(all);
  let uses = 0;
  for (const visited of all) {
    uses++;
    const verdict = judge.verdictOn(visited);
    const isEnded = visited.token === '';
    if (!isRight(verdict, visited.isLoggedIn, isEnded))
      return { wrong: { verdict, ...visited }, isNoticed: false, isThief: false, uses };
    if (isEnded)
      return { wrong: endedWrongly(fleet), isNoticed: true, isThief: thief!.visited.includes(visited), uses };
  }
  return { wrong: fleet.ended[0], isNoticed: false, isThief: false, uses };
}

function isRight(verdict: Verdict, isLoggedIn: boolean, isEnded: boolean): boolean {
  switch (verdict) {
    case 'opens':
      return isLoggedIn;
    case 'may open':
      return !isEnded;
    case 'may be noticed':
      return isLoggedIn || isEnded;
    case 'is refused':
      return !isLoggedIn && !isEnded;
    case 'is noticed':
      return !isLoggedIn && isEnded;
  }
}

function endedWrongly({ ended }: Fleet): unknown {
  const [first, another] = ended;
  return another ?? (first?.reason === 'reused' && first.principal === 'ada' ? undefined : (first ?? 'no event'));
}

const thefts = rounds(1_000);
test(`ID-9: ${counted(thefts)} thefts: each is noticed at the next use of the one whose token was exchanged`, async () => {
  let noticed = 0;
  let thieves = 0;
  let uses = 0;
  for (let n = 0; n < thefts; n++) {
    const theft = await steal(new SeededRandom(seed + n));
    expect({ seed: seed + n, wrong: theft.wrong }).toEqual({ seed: seed + n, wrong: undefined });
    if (theft.isNoticed) noticed++;
    if (theft.isThief) thieves++;
    uses += theft.uses;
  }
  process.stderr.write(
    `${thefts} thefts from seed ${seed}: ${noticed} noticed, ${thieves} by a use of the thief, after ${uses / thefts} uses\n`,
  );
  expect(noticed).toBe(thefts);
});
