import { Pace, RESTS_OF_A_DISK } from '../../src/backends/pace.js';

let now = 0;
jest.mock('node:timers/promises', () => ({
  setTimeout: (milliseconds: number) => {
    now += milliseconds;
    return Promise.resolve();
  },
}));

beforeEach(() => {
  now = 0;
  jest.spyOn(performance, 'now').mockImplementation(() => now);
});
afterEach(() => jest.restoreAllMocks());

/** Works in batches of that many milliseconds until so many are done. Returns the share of each tenth of them in the time. */
async function work(pace: Pace, batches: number, milliseconds: number): Promise<number[]> {
  const shares: number[] = [];
  for (let tenth = 0; tenth < 10; tenth++) {
    const begun = now;
    for (let n = 0; n < batches / 10; n++) {
      now += milliseconds;
      await pace.rest();
    }
    shares.push(((batches / 10) * milliseconds) / (now - begun));
  }
  return shares;
}

test('a short sweep of a disk takes a hundredth of the time', async () => {
  const shares = await work(new Pace(RESTS_OF_A_DISK), 10, 1);
  for (const share of shares) expect(share).toBeLessThan(0.02);
});

test('a long one takes more and more, up to a fifth', async () => {
  const shares = await work(new Pace(RESTS_OF_A_DISK), 10_000, 10);
  expect(shares[0]).toBeLessThan(shares[4]!);
  for (const share of shares) expect(share).toBeLessThanOrEqual(0.2);
  expect(shares[9]).toBeCloseTo(0.2);
});

test('what 1,000 log-ins a second leave in 15 minutes is removed in less, by batches of 100 that take 10 ms', async () => {
  await work(new Pace(RESTS_OF_A_DISK), 9_000, 10);
  expect(now).toBeLessThan(15 * 60_000);
});

test('the work is never without a rest, and no rest is longer than a second', async () => {
  const pace = new Pace(RESTS_OF_A_DISK);
  await pace.rest();
  expect(now).toBe(5);
  now += 60_000;
  const before = now;
  await pace.rest();
  expect(now - before).toBe(1_000);
});
