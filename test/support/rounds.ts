/** The shares of the rounds that `ROUNDS` names. */
const SHARES: Readonly<Record<string, number>> = { few: 1 / 10, some: 1 / 3 };

/**
 * Returns how many rounds a random test runs: all of them, a third in the gate, or a tenth where a person waits, as
 * `npm test` does outside CI. The test's name has the number.
 */
export function rounds(all: number): number {
  return Math.ceil(all * (SHARES[process.env['ROUNDS'] ?? ''] ?? 1));
}

/** Formats a count as the names of tests do: 10,000. */
export function counted(count: number): string {
  return count.toLocaleString('en');
}
