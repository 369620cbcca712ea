import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import { serveSessionBackends } from '../../src/testing/remote-backend.js';

serveSessionBackends(path => new LmdbBackend({ path }));
