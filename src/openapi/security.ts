import { isDeepStrictEqual } from 'node:util';

import type { SecurityRequirement } from './document.js';

/** The scheme that one guard adds to a route: required, or optional. */
export interface SchemeUse {
  scheme: string;
  optional: boolean;
}

/**
 * Adds guards to a list of security requirements, which are alternatives. A guard applies to every alternative, so that each
 * is combined with each of the guard's.
 *
 * @param present the document's requirements so far; `undefined` or empty: none
 */
export function withSchemes(
  present: readonly SecurityRequirement[] | undefined,
  uses: readonly SchemeUse[],
): SecurityRequirement[] {
  const start: readonly SecurityRequirement[] = present && present.length > 0 ? present : [{}];
  const all = uses.reduce<readonly SecurityRequirement[]>((alternatives, { scheme, optional }) => {
    const ours: SecurityRequirement[] = optional ? [{}, { [scheme]: [] }] : [{ [scheme]: [] }];
    return alternatives.flatMap(theirs => ours.map(own => ({ ...own, ...theirs })));
  }, start);
  return all.filter((one, at) => all.findIndex(other => isDeepStrictEqual(other, one)) === at);
}
