import { Pool } from 'pg';
import { PostgresBackend } from '../../src/backends/postgres/backend.js';
import { serveSessionBackends } from '../../src/testing/remote-backend.js';
import './short-waits.js';

/** Told by its parent: the address of the server. */
const pool = new Pool({ connectionString: process.argv[2] ?? '', max: 5 });

// A machine that is busy for two seconds, the default, is no server that hangs.
serveSessionBackends(table => new PostgresBackend({ pool, table, statementTimeout: 60 }));
