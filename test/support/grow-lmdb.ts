import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import { sessionRecord } from './session-record.js';

/** Log-ins of one round, two at a time, and the reads of each turn beside them. */
const LOGINS = 60;
const READS = 50;

/** For each folder that its parent names: opens it, logs in and reads at once, and closes it. Answers with what went wrong. */
process.on('message', folder => {
  grow(String(folder)).then(
    () => process.send?.(''),
    (error: unknown) => process.send?.(String(error)),
  );
});

async function grow(folder: string): Promise<void> {
  const backend = new LmdbBackend({ path: folder });
  const ids = Array.from({ length: LOGINS }, (_, n) => `${process.pid}-${n}`);
  let left = LOGINS;
  const reading = (async () => {
    while (left > 0) {
      await Promise.all(ids.slice(0, READS).map(id => backend.read(id)));
      await new Promise(resolve => setImmediate(resolve));
    }
  })();
  const login = (id = ''): Promise<boolean> =>
    backend.create(sessionRecord({ id, principal: 'ada', data: 'x'.repeat(4_000), expiresAt: Date.now() + 1e9 }));
  for (; left > 0; left -= 2) await Promise.all([login(ids[left - 1]), login(ids[left - 2])]);
  await reading;
  await backend.close();
}
