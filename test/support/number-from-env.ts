/**
 * A number that the environment may set: a long run asks for more with it, or repeats the seed of a run that failed.
 *
 * @throws RangeError for a value that is not a whole number from `least`
 */
export function numberFromEnv(name: string, otherwise: number, least = 0): number {
  const given = process.env[name];
  if (given === undefined || given === '') return otherwise;
  const value = Number(given);
  if (!Number.isSafeInteger(value) || value < least)
    throw new RangeError(`${name}: ${given}; write a whole number from ${least}`);
  return value;
}
