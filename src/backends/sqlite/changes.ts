import { fromColumn } from '../column-text.js';
import type { ChangeLog } from '../looks.js';
import type { SqliteValue } from './database.js';
import type { Statements } from './statements.js';

/** A row of the log. */
interface Change {
  number: SqliteValue;
  id: string;
}

/** Before the first change. */
const START: Change = Object.freeze({ number: 0, id: '' });

/** The log of ended and changed records, which triggers write. */
export class Changes implements ChangeLog<Change> {
  /** @param assertUsable throws while a read might not see what is in the file */
  constructor(
    private readonly statements: Statements,
    private readonly assertUsable: () => void,
  ) {}

  end(): Change {
    this.assertUsable();
    return (this.statements.lastChange.get() as Change | undefined) ?? START;
  }

  after(place: Change): { ids: readonly string[]; place: Change } | undefined {
    this.assertUsable();
    const changes = this.statements.changes.all(place.number) as Change[];
    const start = Number(place.number);
    // The row that was read last is there: nothing after it has been trimmed, and the log is the same.
    const [first] = start === 0 ? [START] : changes.splice(0, 1);
    const last = changes.at(-1) ?? place;
    if (Number(first?.number) !== start || first?.id !== place.id) return undefined;
    // Without gaps, which also tells of what was trimmed before the first look.
    if (Number(last.number) - start !== changes.length) return undefined;
    return { ids: Array.from(changes, ({ id }) => fromColumn(id)), place: last };
  }
}
