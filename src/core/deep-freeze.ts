/** The most objects that are frozen: more than any session's data has, and a bound for what is attached to it. */
const MOST_OBJECTS = 100_000;

/**
 * Freezes a value and all that its properties hold, however deep. What a frozen object holds is left as it is, and so is what
 * cannot be frozen.
 */
export function deepFreeze(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  const waiting: object[] = [value];
  for (let frozen = 0; frozen < MOST_OBJECTS; frozen++) {
    const next = waiting.pop();
    if (!next) return;
    if (ArrayBuffer.isView(next) || Object.isFrozen(next)) continue;
    Object.freeze(next);
    // Descriptors cost ten times as much as the rest.
    if (Array.isArray(next) && next.length <= MOST_OBJECTS) {
      for (const held of next as unknown[]) if (typeof held === 'object' && held !== null) waiting.push(held);
      continue;
    }
    for (const key of Object.getOwnPropertyNames(next)) {
      // A getter is not called.
      const held: unknown = Object.getOwnPropertyDescriptor(next, key)?.value;
      if (typeof held === 'object' && held !== null) waiting.push(held);
    }
  }
}
