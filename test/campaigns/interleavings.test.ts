import 'reflect-metadata';

import { runInOrder, walkEveryInterleaving } from '../support/every-interleaving.js';
import { numberFromEnv } from '../support/number-from-env.js';
import { rounds } from '../support/rounds.js';
import { SeededRandom } from '../../src/testing/random.js';
import { type ClientPlan, type RacePlan, SessionRaces, type Step } from './session-race.js';

/*
 * `npm run test:races` asks for 100,000 races and for the longer walks; RACE_SEED for other ones.
 */
const RACES = numberFromEnv('RACES', rounds(10_000));
const SEED = numberFromEnv('RACE_SEED', 20_260_101);
const testLong = RACES >= 100_000 ? test : test.skip;
const TIMEOUT = 1_800_000;

const STEPS: readonly Step[] = ['assign', 'update', 'rotate', 'end', 'endAll', 'endOthers', 'login'];

/** What one request may do: nothing but load, or one step; or two. */
const SHORT: readonly Step[][] = [[], ...STEPS.map(step => [step])];
const LONG: readonly Step[][] = [...SHORT, ...STEPS.flatMap(first => STEPS.map(second => [first, second]))];

/** Every choice of programs for clients that are alike otherwise, so that their order does not matter. */
function* programsFor(clients: number, programs: readonly Step[][], from = 0): Generator<Step[][]> {
  if (clients === 0) yield [];
  else
    for (let index = from; index < programs.length; index++)
      for (const others of programsFor(clients - 1, programs, index)) yield [programs[index]!, ...others];
}

/** Tabs of one browser, each with one request under way. */
function tabs(programs: readonly Step[][], processOf: (tab: number) => number, touchDue: boolean): RacePlan {
  const clients = programs.map((steps, tab): ClientPlan => ({ process: processOf(tab), jar: 0, requests: [steps] }));
  return { jars: ['ada'], clients, touchDue };
}

async function walk(phases: 1 | 2, plans: Iterable<RacePlan>, limit?: number): Promise<number> {
  const races = new SessionRaces(phases, limit);
  let orders = 0;
  for (const plan of plans) {
    try {
      orders += await walkEveryInterleaving(races.scheduler, () => races.start(plan));
    } catch (error) {
      throw new Error(`${JSON.stringify(plan)}: ${(error as Error).message}`, { cause: error });
    }
  }
  return orders;
}

const inOne = () => 0;
const apart = (tab: number) => tab;

describe('CC-1: in every interleaving no session is revived, no write is lost, and no cookie or record is orphaned', () => {
  test(
    'of two requests in one process, each call parked before its effect and before its answer',
    async () => {
      const plans = [...programsFor(2, SHORT)].map(programs => tabs(programs, inOne, false));
      expect(await walk(2, plans)).toBeGreaterThan(3_000);
    },
    TIMEOUT,
  );

  test(
    'of two requests in two processes that also write "last seen"',
    async () => {
      const plans = [...programsFor(2, SHORT)].map(programs => tabs(programs, apart, true));
      expect(await walk(1, plans)).toBeGreaterThan(3_000);
    },
    TIMEOUT,
  );

  test(
    'of a request with two steps and one with a single step, in two processes',
    async () => {
      const plans = LONG.flatMap(long => SHORT.map(short => tabs([long, short], apart, false)));
      expect(await walk(1, plans)).toBeGreaterThan(4_500);
    },
    TIMEOUT,
  );

  test(
    'of three requests in three processes',
    async () => {
      const plans = [...programsFor(3, SHORT)].map(programs => tabs(programs, apart, false));
      expect(await walk(1, plans)).toBeGreaterThan(15_000);
    },
    TIMEOUT,
  );

  test(
    'of a session that is ended by its id while another request exchanges its token',
    async () => {
      const plans = [tabs([['endById'], ['rotate']], inOne, false), tabs([['endById'], ['rotate']], apart, true)];
      expect(await walk(2, plans)).toBeGreaterThan(20_000);
    },
    TIMEOUT,
  );

  test(
    'of a log-in that evicts a session while another request exchanges its token',
    async () => {
      // The second log-in of the start has evicted the first.
      const plan: RacePlan = {
        jars: ['ada', 'ada'],
        clients: [
          { process: 0, jar: 1, requests: [['rotate']] },
          { process: 1, jar: 0, requests: [['login']] },
        ],
        touchDue: false,
      };
      expect(await walk(1, [plan], 1)).toBeGreaterThan(10);
    },
    TIMEOUT,
  );

  testLong(
    'of two requests with two steps each, in two processes',
    async () => {
      const plans = [...programsFor(2, LONG)].map(programs => tabs(programs, apart, false));
      expect(await walk(1, plans)).toBeGreaterThan(25_000);
    },
    TIMEOUT,
  );
});

describe('CC-1: random races', () => {
  test(
    `${RACES} of them, from seed ${SEED}, of up to four clients with up to two requests of up to three steps`,
    async () => {
      const both = [new SessionRaces(1), new SessionRaces(2)] as const;
      for (let race = 0; race < RACES; race++) {
        const random = new SeededRandom(SEED + race);
        const races = random.pick(both);
        const plan = randomPlan(random);
        try {
          await runInOrder(
            races.scheduler,
            () => races.start(plan),
            (_step, waiting) => random.integer(waiting),
          );
        } catch (error) {
          const again = `RACE_SEED=${SEED + race} RACES=1`;
          throw new Error(`${again} ${JSON.stringify(plan)}: ${(error as Error).message}`, { cause: error });
        }
      }
    },
    TIMEOUT,
  );
});

function randomPlan(random: SeededRandom): RacePlan {
  const jars = Array.from({ length: 1 + random.integer(3) }, () => random.pick(['ada', 'ada', 'bob', null]));
  const clients = Array.from({ length: 2 + random.integer(3) }, (): ClientPlan => {
    const requests = Array.from({ length: 1 + random.integer(2) }, () =>
      Array.from({ length: random.integer(4) }, () => random.pick(STEPS)),
    );
    return { process: random.integer(3), jar: random.integer(jars.length), requests };
  });
  return { jars, clients, touchDue: random.integer(2) === 0 };
}
