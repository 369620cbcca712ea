import { createPool } from 'mysql2/promise';
import { MysqlBackend } from '../../src/backends/mysql/backend.js';
import { serveSessionBackends } from '../../src/testing/remote-backend.js';
import './short-waits.js';

/** Told by its parent: the address of the server. */
const pool = createPool({ uri: process.argv[2] ?? '', connectionLimit: 5 });

serveSessionBackends(table => new MysqlBackend({ pool, table }));
