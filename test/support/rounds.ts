/**
 * Returns how many rounds a random test runs: all of them, or a tenth where a person waits, as `npm test` does outside CI.
 * The test's name has the number.
 */
export function rounds(all: number): number {
  return process.env['ROUNDS'] === 'few' ? Math.ceil(all / 10) : all;
}

/** Formats a count as the names of tests do: 10,000. */
export function counted(count: number): string {
  return count.toLocaleString('en');
}
