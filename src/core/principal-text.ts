import { InvalidSessionDataError } from './errors.js';

/** The longest principal in UTF-8. Some engines cannot store longer keys, and the limit is the same for every backend. */
const MAX_PRINCIPAL_BYTES = 1_024;

/**
 * Returns a principal as records hold it. A number stands for its decimal text, everywhere; `undefined`, `null` and the
 * empty text stand for no principal.
 *
 * @param property names the value in the error
 * @throws InvalidSessionDataError for an object, a boolean, `NaN` or an infinite number, and for a text of more than 1,024 bytes
 */
export function principalText(value: unknown, property = 'principal'): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  if (typeof value !== 'string') {
    const given = typeof value === 'number' ? String(value) : `of type ${typeof value}`;
    throw new InvalidSessionDataError({ [property]: `${given}; a principal is a text or a finite number` });
  }
  // No character takes more than three bytes for each of its UTF-16 units.
  if (value.length * 3 > MAX_PRINCIPAL_BYTES && Buffer.byteLength(value) > MAX_PRINCIPAL_BYTES) {
    throw new InvalidSessionDataError({
      [property]: `${Buffer.byteLength(value)} bytes; a principal has at most ${MAX_PRINCIPAL_BYTES}. Use an id instead`,
    });
  }
  return value;
}
