import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import { MovingBackend } from '../../src/backends/moving/backend.js';
import { serveSessionBackends } from '../../src/testing/remote-backend.js';
import './short-waits.js';

/** Told by its parent: the two folders, the one that log-ins come into last. */
serveSessionBackends(folders => {
  const [from = '', to = ''] = folders.split('|');
  return new MovingBackend({ from: new LmdbBackend({ path: from }), to: new LmdbBackend({ path: to }) });
});
