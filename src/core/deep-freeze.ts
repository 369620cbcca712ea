/** The most objects that are frozen: more than any session's data has, and a bound for what is attached to it. */
const MOST_OBJECTS = 100_000;

/**
 * Freezes a value and all that its properties hold, however deep. What a frozen object holds is left as it is, and so is what
 * cannot be frozen.
 */
export function deepFreeze(value: unknown): void {
  const waiting: unknown[] = [value];
  for (let frozen = 0; waiting.length > 0 && frozen < MOST_OBJECTS; frozen++) {
    const next = waiting.pop();
    if (typeof next !== 'object' || next === null || ArrayBuffer.isView(next) || Object.isFrozen(next)) continue;
    Object.freeze(next);
    const properties = Object.getOwnPropertyDescriptors(next) as Record<string, PropertyDescriptor>;
    for (const property of Object.values(properties)) waiting.push(property.value);
  }
}
