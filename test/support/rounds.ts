/**
 * Returns how many rounds a random test runs: all of them, or a tenth where somebody waits, as `npm test` does outside CI, and
 * as the gate does. The test's name has the number.
 *
 * @param few in place of a tenth
 */
export function rounds(all: number, few = Math.ceil(all / 10)): number {
  return process.env['ROUNDS'] === 'few' ? few : all;
}

/** Formats a count as the names of tests do: 10,000. */
export function counted(count: number): string {
  return count.toLocaleString('en');
}
