import { LmdbBackend } from '../../src/backends/lmdb.js';
import { serveSessionBackends } from '../../src/testing/remote-backend.js';

serveSessionBackends(path => new LmdbBackend({ path }));
