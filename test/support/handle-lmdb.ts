import path from 'node:path';
import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import { sessionRecord } from './session-record.js';

/*
 * What stopped or ended the process that did it, told by its parent as "what times folder". Answers with what it has done.
 */

const nextTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

/** Opens a folder again while a write is under way, at another moment of it each time. */
async function openAgain(folder: string, times: number): Promise<string> {
  const first = new LmdbBackend({ path: folder });
  let stored = 0;
  for (let n = 0; n < times; n++) {
    const record = sessionRecord();
    const writing = first.create(record);
    for (let turns = n % 5; turns > 0; turns--) await nextTurn();
    const second = new LmdbBackend({ path: folder });
    await writing;
    if (await second.read(record.id)) stored++;
    await second.close();
  }
  await first.close();
  return `stored ${stored}`;
}

/** Closes a backend while it makes a backup, at another moment of it each time. */
async function closeDuringBackup(folder: string, times: number): Promise<string> {
  let whole = 0;
  for (let n = 0; n < times; n++) {
    const backend = new LmdbBackend({ path: path.join(folder, `${n}`) });
    await Promise.all(Array.from({ length: 1_000 }, () => backend.create(sessionRecord({ data: 'x'.repeat(3_000) }))));
    const record = sessionRecord();
    await backend.create(record);
    const copy = path.join(folder, `copy-${n}`);
    const copying = backend.backup(copy);
    for (let turns = 10 * n; turns > 0; turns--) await nextTurn();
    await backend.close();
    await copying;
    const restored = new LmdbBackend({ path: copy });
    if (await restored.read(record.id)) whole++;
    await restored.close();
  }
  return `copied ${whole}`;
}

process.on('message', message => {
  const [what, times, folder = ''] = String(message).split(' ');
  const doing = (what === 'open-again' ? openAgain : closeDuringBackup)(folder, Number(times));
  doing.then(
    done => process.send?.(done),
    (error: unknown) => process.send?.(String(error)),
  );
});
