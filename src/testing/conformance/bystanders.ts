import type { SessionBackend } from '../../core/backend.js';
import type { SessionRecord } from '../../core/record.js';
import type { SeededRandom } from '../random.js';
import { HOUR, MINUTE, rotated, START } from './records.js';

/** Returns what requests do with sessions while others end them: three calls for each record, on any handles. */
export function bystandersOf(
  records: readonly SessionRecord[],
  handles: readonly SessionBackend[],
  random: SeededRandom,
): (() => Promise<unknown>)[] {
  return records.flatMap(record => [
    async () => {
      const on = random.pick(handles);
      for (let n = 0; n < 3; n++) {
        const stored = await on.read(record.id);
        if (!stored || (await on.update(rotated(stored), stored.version)) === 'gone') return;
      }
    },
    () => random.pick(handles).update({ ...record, data: '{"n":1}' }, 1),
    () => random.pick(handles).touch(record.id, START + MINUTE, START + 2 * HOUR),
  ]);
}
