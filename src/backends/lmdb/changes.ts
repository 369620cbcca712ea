import type { Database } from 'lmdb';
import type { ChangeLog } from '../looks.js';
import { toId } from './layout.js';

/** The number of changes that the log keeps: those of a second in which LMDB does nothing else, or of a day in which little happens. */
const KEPT = 16_384;

/** The number of changes after which the log is trimmed, and the most entries that go then. */
const TRIM_INTERVAL = 256;
const TRIM_BATCH = 2 * TRIM_INTERVAL;

/** The key of the last number, in the root database, which has a page that each transaction writes in any case. */
const LAST = Buffer.from('last-change');

const NUMBER_BYTES = 8;
const LENGTH_BYTES = 2;

/** An entry of the log: the number of its last change, and the keys of the records. */
interface Entry {
  number: number;
  keys: Buffer;
}

/** Before the first change. */
const START: Entry = Object.freeze({ number: 0, keys: Buffer.alloc(0) });

/**
 * The log of ended and changed records. Each transaction adds one entry, so that the end of many sessions costs little more than
 * that of one. Its key is the number of the entry's last change, which counts up from 1 without gaps; the value holds the keys of
 * the records. The log is trimmed from its oldest end, by those who write.
 */
export class Changes implements ChangeLog<Entry> {
  /** @param look runs reads in a fresh snapshot */
  constructor(
    private readonly root: Database<string, Buffer>,
    private readonly entries: Database<Buffer, Buffer>,
    private readonly look: <T>(read: () => T) => T,
  ) {}

  /** Adds changes. To be called within the transaction that makes them. */
  add(keys: readonly Buffer[]): void {
    if (keys.length === 0) return;
    const before = this.#lastNumber();
    const number = before + keys.length;
    void this.root.put(LAST, String(number));
    void this.entries.put(numberKey(number), joined(keys));
    if (Math.floor(number / TRIM_INTERVAL) > Math.floor(before / TRIM_INTERVAL)) this.#trim(number - KEPT);
  }

  end(): Entry {
    return this.look(() => {
      const number = this.#lastNumber();
      const keys = number === 0 ? undefined : this.entries.get(numberKey(number));
      return keys ? { number, keys: Buffer.from(keys) } : START;
    });
  }

  after(place: Entry): { ids: readonly string[]; place: Entry } | undefined {
    const entries = this.look(() =>
      this.#lastNumber() === place.number
        ? undefined
        : Array.from(this.entries.getRange({ start: numberKey(place.number) }), ({ key, value }) =>
            entryOf(key, value),
          ),
    );
    if (!entries) return { ids: [], place };
    // The entry that was read last is there: nothing after it has been trimmed, and the log is the same.
    const first = place.number === 0 ? START : entries.shift();
    if (first?.number !== place.number || !first.keys.equals(place.keys)) return undefined;
    const ids = entries.flatMap(({ keys }) => separated(keys));
    const last = entries.at(-1) ?? place;
    // Without gaps, which also tells of what was trimmed before the first look.
    return last.number - place.number === ids.length ? { ids, place: last } : undefined;
  }

  #lastNumber(): number {
    return Number(this.root.get(LAST) ?? 0);
  }

  #trim(last: number): void {
    if (last <= 0) return;
    // Copies, because LMDB reuses its buffer.
    const keys = Array.from(this.entries.getKeys({ end: numberKey(last), limit: TRIM_BATCH }), key => Buffer.from(key));
    for (const key of keys) void this.entries.remove(key);
  }
}

/** Non-negative doubles sort in the order of their bytes. */
function numberKey(number: number): Buffer {
  const key = Buffer.alloc(NUMBER_BYTES);
  key.writeDoubleBE(number);
  return key;
}

/** Returns a copy, because LMDB reuses its buffer. */
function entryOf(key: Buffer, value: Buffer): Entry {
  return { number: key.readDoubleBE(), keys: Buffer.from(value) };
}

function joined(keys: readonly Buffer[]): Buffer {
  const bytes = Buffer.allocUnsafe(keys.reduce((sum, key) => sum + LENGTH_BYTES + key.length, 0));
  let end = 0;
  for (const key of keys) {
    end = bytes.writeUInt16BE(key.length, end);
    end += key.copy(bytes, end);
  }
  return bytes;
}

/** Returns the ids of the keys that {@link joined} put together. */
function separated(keys: Buffer): string[] {
  const ids: string[] = [];
  for (let start = 0; start < keys.length;) {
    const from = start + LENGTH_BYTES;
    start = from + keys.readUInt16BE(start);
    ids.push(toId(keys.subarray(from, start)));
  }
  return ids;
}
