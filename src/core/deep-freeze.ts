/** Freezes a value and all that its properties hold. What a frozen object holds is left as it is. */
export function deepFreeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value) || ArrayBuffer.isView(value)) return;
  Object.freeze(value);
  for (const property of Object.values<PropertyDescriptor>(Object.getOwnPropertyDescriptors(value)))
    deepFreeze(property.value);
}
