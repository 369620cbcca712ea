import { isDeepStrictEqual } from 'node:util';

import type { DocumentObject } from './document.js';

/** What OpenAPI allows in the key of a component. */
const FORBIDDEN = /[^a-zA-Z0-9._-]+/g;

/**
 * One map of a document's components, being added to. What is there stays as it is: a component that is already there is
 * used, another one of the same name is stepped around.
 */
export class Components {
  readonly #entries: Map<string, DocumentObject>;

  constructor(
    present: Readonly<Record<string, DocumentObject>> | undefined,
    /** Whether two components mean the same. */
    private readonly isSame: (a: DocumentObject, b: DocumentObject) => boolean = isDeepStrictEqual,
  ) {
    this.#entries = new Map(Object.entries(present ?? {}));
  }

  /** @returns the key under which the component is to be found */
  add(name: string, component: DocumentObject): string {
    for (let number = 1; ; number++) {
      const key = number === 1 ? name : `${name}_${number}`;
      const present = this.#entries.get(key);
      if (!present) this.#entries.set(key, component);
      if (!present || this.isSame(present, component)) return key;
    }
  }

  toObject(): Record<string, DocumentObject> {
    return Object.fromEntries(this.#entries);
  }
}

/** @returns the nearest key that OpenAPI allows, or `fallback` when nothing is left of the name */
export function componentKey(name: string, fallback: string): string {
  const key = name.replace(FORBIDDEN, '_');
  return /[^_]/.test(key) ? key : fallback;
}
