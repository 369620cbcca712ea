import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import { serveSessionBackends } from '../../src/testing/remote-backend.js';
import './short-waits.js';

serveSessionBackends(path => new LmdbBackend({ path }));
