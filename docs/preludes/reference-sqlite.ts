import Database from 'better-sqlite3';
import { SqliteBackend } from 'routing-controllers-sessions/sqlite';
