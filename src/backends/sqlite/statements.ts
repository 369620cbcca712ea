import { inArrays, type SqliteDatabase, type SqliteStatement } from './database.js';
import type { Table } from './table.js';

/** The prepared statements of one connection. SQLite prepares them again by itself when the schema changes. */
export class Statements {
  readonly create: SqliteStatement;
  readonly read: SqliteStatement;
  readonly exists: SqliteStatement;
  readonly update: SqliteStatement;
  readonly move: SqliteStatement;
  readonly touch: SqliteStatement;
  readonly shorten: SqliteStatement;
  readonly delete: SqliteStatement;
  readonly list: SqliteStatement;
  readonly living: SqliteStatement;
  readonly lastNumber: SqliteStatement;
  readonly revoke: SqliteStatement;
  readonly due: SqliteStatement;
  readonly deleteNumber: SqliteStatement;
  readonly putOff: SqliteStatement;
  readonly heads: SqliteStatement;
  readonly window: SqliteStatement;
  readonly deleteWindow: SqliteStatement;
  readonly lastChange: SqliteStatement;
  readonly changes: SqliteStatement;

  constructor(database: SqliteDatabase, table: Table) {
    this.create = database.prepare(table.create);
    this.read = inArrays(database.prepare(table.read));
    this.exists = database.prepare(table.exists);
    this.update = database.prepare(table.update);
    this.move = database.prepare(table.move);
    this.touch = database.prepare(table.touch);
    this.shorten = database.prepare(table.shorten);
    this.delete = database.prepare(table.delete);
    this.list = inArrays(database.prepare(table.list));
    this.living = database.prepare(table.living);
    this.lastNumber = database.prepare(table.lastNumber);
    this.revoke = database.prepare(table.revoke);
    this.due = database.prepare(table.due);
    this.deleteNumber = database.prepare(table.deleteNumber);
    this.putOff = database.prepare(table.putOff);
    this.heads = database.prepare(table.heads);
    this.window = database.prepare(table.window);
    this.deleteWindow = database.prepare(table.deleteWindow);
    this.lastChange = database.prepare(table.lastChange);
    this.changes = database.prepare(table.changes);
  }
}
