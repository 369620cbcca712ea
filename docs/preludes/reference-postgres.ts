import { Pool } from 'pg';
import { PostgresBackend } from 'routing-controllers-sessions/postgres';

const connectionString = 'postgres://127.0.0.1/sessions';
