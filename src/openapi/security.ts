import { isDeepStrictEqual } from 'node:util';

import type { SecurityRequirement } from './document.js';

/** What one guard adds to a route: a scheme that it needs, or that it looks at. */
export interface SchemeUse {
  scheme: string;
  optional: boolean;
}

/**
 * A list of security requirements is a list of alternatives. A guard stands in front of every one of them, so that each
 * goes together with each of the guard's.
 *
 * @param present what the document asked for so far; `undefined` or empty: nothing
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
