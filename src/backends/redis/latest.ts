import type { SessionRecord } from '../../core/record.js';
import { BATCH } from './lua.js';

/** The number of names that stands for all of them. */
const ALL = 2 ** 31;

/** The records of the latest names of an index. `isAll`: it has no more names. */
interface Page {
  records: SessionRecord[];
  isAll: boolean;
}

/**
 * Returns the records of the latest log-ins. A name may be that of a session that Redis has forgotten, so that more of them are
 * looked at when too few have a record.
 *
 * @param look returns the records of the `count` latest names
 */
export async function latest(limit: number, look: (count: number) => Promise<Page>): Promise<SessionRecord[]> {
  for (let count = Math.min(limit, ALL); ; count = Math.min(2 * count, ALL)) {
    const { records, isAll } = await look(count);
    if (isAll || records.length >= limit || count === ALL)
      return records.sort((a, b) => b.createdAt - a.createdAt).slice(0, limit);
  }
}

/** Calls `work` with each item, with so many at a time as one script has. */
export async function inSlices<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let start = 0; start < items.length; start += BATCH)
    await Promise.all(items.slice(start, start + BATCH).map(work));
}
