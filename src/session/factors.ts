import { isFactor, MOST_FACTORS } from '../cookie/proof.js';
import { refusal, shown } from '../core/checks.js';

/**
 * @param place what the factors were given to
 * @throws SessionConfigurationError for a name that is none, and for more than a session can have
 */
export function assertFactors(factors: readonly unknown[], place: string, option: string): void {
  const wrong = factors.find(factor => !isFactor(factor));
  if (wrong !== undefined)
    throw refusal(place, option, shown(wrong), "a name of up to 32 letters, digits and any of _.:-, as 'otp'");
  if (factors.length > MOST_FACTORS)
    throw refusal(place, option, `${factors.length} factors`, `at most ${MOST_FACTORS} for one session`);
}

/**
 * Returns the factors that are missing, or were proved too long ago, of the list that is nearest for this user. `undefined`: one
 * list is complete.
 *
 * The nearest is the list with the fewest factors that the user never proved; of several, the one that lacks fewest; of those, the
 * one of which most is proved. So somebody who logged in with a password and needs a passkey, or the password and a code, is
 * asked for the code.
 *
 * @param lists alternatives, each of which is enough
 * @param isStale whether an instant in epoch milliseconds is too long ago
 */
export function missingFactors(
  lists: readonly (readonly string[])[],
  proved: ReadonlyMap<string, Date>,
  isStale: (at: number) => boolean,
): readonly string[] | undefined {
  const lacks = lists.map(list => {
    const missing = list.filter(factor => {
      const at = proved.get(factor);
      return at === undefined || isStale(at.getTime());
    });
    const unknown = missing.filter(factor => !proved.has(factor));
    return { missing, unknown: unknown.length, proved: list.length - missing.length };
  });
  if (lacks.some(({ missing }) => missing.length === 0)) return undefined;
  lacks.sort((a, b) => a.unknown - b.unknown || a.missing.length - b.missing.length || b.proved - a.proved);
  return lacks[0]?.missing;
}
