import { isDeepStrictEqual } from 'node:util';

import type { DocumentObject } from './document.js';

/** The characters that OpenAPI does not allow in the key of a component. */
const FORBIDDEN = /[^a-zA-Z0-9._-]+/g;

/**
 * Collects one map of a document's components. Existing components stay as they are: an equal one is reused, and a different
 * one of the same name makes the new one take another name.
 */
export class Components {
  readonly #entries: Map<string, DocumentObject>;

  constructor(
    present: Readonly<Record<string, DocumentObject>> | undefined,
    /** Returns whether two components mean the same. */
    private readonly isSame: (a: DocumentObject, b: DocumentObject) => boolean = isDeepStrictEqual,
  ) {
    this.#entries = new Map(Object.entries(present ?? {}));
  }

  /** @returns the key of the component */
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
