/** The number of slots over which a cluster spreads its keys. */
export const SLOTS = 16_384;

/** The CRC16 (XMODEM) of each byte. */
const CRC_OF = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
  return crc;
});

/** Returns the slot of a key, by the rules of the cluster specification. */
export function slotOf(key: string): number {
  let crc = 0;
  for (const byte of Buffer.from(hashedPart(key))) crc = ((crc << 8) & 0xffff) ^ (CRC_OF[(crc >> 8) ^ byte] ?? 0);
  return crc % SLOTS;
}

/** The most names that are tried. It finds one even if a single slot is right, but for one time in 3,000. */
const TRIES = 8 * SLOTS;

/**
 * Returns a number from `first` on that puts a key into one of the right slots.
 *
 * @param keyOf returns the key of a number, as the server sees it
 * @returns `undefined` when the number makes no difference, or none was found
 */
export function numberInSlot(
  keyOf: (n: number) => string,
  isRight: (slot: number) => boolean,
  first = 0,
): number | undefined {
  if (isRight(slotOf(keyOf(first)))) return first;
  // Text in braces before the number decides alone.
  if (hashedPart(keyOf(first)) === hashedPart(keyOf(first + 1))) return undefined;
  for (let n = first + 1; n < first + TRIES; n++) if (isRight(slotOf(keyOf(n)))) return n;
  return undefined;
}

/** The first text in braces, unless it is empty; else the whole key. */
function hashedPart(key: string): string {
  const [, tag = ''] = /^[^{]*\{([^}]*)\}/.exec(key) ?? [];
  return tag === '' ? key : tag;
}
