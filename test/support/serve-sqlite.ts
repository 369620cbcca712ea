import { SqliteBackend } from '../../src/backends/sqlite/backend.js';
import { serveSessionBackends } from '../../src/testing/remote-backend.js';
import { openSqlite } from './open-sqlite.js';
import './short-waits.js';

serveSessionBackends(file => new SqliteBackend({ database: openSqlite(file) }));
