import { Pool } from 'pg';
import { PostgresBackend } from '../../src/backends/postgres/backend.js';
import { serveSessionBackends } from '../../src/testing/remote-backend.js';

/** Told by its parent: the address of the server. */
const pool = new Pool({ connectionString: process.argv[2] ?? '', max: 5 });

serveSessionBackends(table => new PostgresBackend({ pool, table }));
