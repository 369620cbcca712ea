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

test('a long one takes more and more: a fifth within a minute, and a half after little more than three', async () => {
  const pace = new Pace(RESTS_OF_A_DISK);
  const shares = await work(pace, 1_000, 10);
  expect(shares[0]).toBeLessThan(0.1);
  expect(shares).toEqual(shares.toSorted((a, b) => a - b));
  while (now < 60_000) await work(pace, 10, 10);
  expect((await work(pace, 10, 10))[9]).toBeGreaterThan(0.2);
  while (now < 200_000) await work(pace, 10, 10);
  for (const share of await work(pace, 1_000, 10)) expect(share).toBeCloseTo(0.5);
});

test('its batches grow to three times their first size', async () => {
  const pace = new Pace(RESTS_OF_A_DISK);
  expect(pace.sizeOf(100)).toBe(100);
  now = 2_000;
  expect(pace.sizeOf(100)).toBe(200);
  now = 90_000;
  expect(pace.sizeOf(100)).toBe(300);
  await pace.rest();
});

test('work that begins again soon goes on at the pace that it had, and after a long rest begins anew', async () => {
  const first = new Pace(RESTS_OF_A_DISK);
  while (now < 60_000) await work(first, 10, 10);
  const size = first.sizeOf(100);
  const [reached] = (await work(first, 10, 10)).slice(-1);
  now += 3_000;
  const second = new Pace(RESTS_OF_A_DISK, first);
  expect(second.sizeOf(100)).toBe(size);
  expect((await work(second, 10, 10))[0]).toBeCloseTo(reached!, 1);
  now += 600_000;
  const third = new Pace(RESTS_OF_A_DISK, second);
  expect(third.sizeOf(100)).toBe(100);
  expect((await work(third, 10, 10))[0]).toBeLessThan(0.02);
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
