import { LONGEST, type OptionTable, seconds, trueOrFalse } from '../core/checks.js';
import { SessionConfigurationError } from '../core/errors.js';

export const DEFAULT_TABLE = 'routing_controllers_sessions';

/** The options of a migration. {@link tableNameOf} checks the name. */
export const MIGRATION: OptionTable = Object.freeze({
  table: { check: { instead: 'a name, as auth.sessions', holds: () => true } },
});

/** The options of a backend on a server, beside its pool. */
export const SERVER_OPTIONS: OptionTable = Object.freeze({
  ...MIGRATION,
  prepare: { check: trueOrFalse },
  statementTimeout: { check: seconds(0.001, LONGEST.hour) },
});

/** The columns of a record in a table, in the order of the statements' parameters. */
export const RECORD: readonly string[] = Object.freeze([
  'id',
  'principal',
  'data',
  'proof',
  'version',
  'created_at',
  'authenticated_at',
  'last_seen_at',
  'expires_at',
  'ip',
  'user_agent',
]);

/** The name of a table, alone or with what contains it before a dot. */
export interface TableName {
  name: string;
  container: string | undefined;
  baseName: string;
}

/**
 * @param container what may precede the name: `schema` for example
 * @throws SessionConfigurationError when the name needs escaping
 */
export function tableNameOf(name: unknown, container: string, longest: number): TableName {
  const parts = typeof name === 'string' ? name.split('.') : [];
  const isName = (part: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(part) && part.length <= longest;
  const baseName = parts.at(-1);
  if (typeof name !== 'string' || baseName === undefined || parts.length > 2 || !parts.every(isName)) {
    throw new SessionConfigurationError(
      `table: ${String(name)}; a name is needed, or a ${container} and a name with a dot between, of letters, digits and _ and at most ${longest} characters`,
    );
  }
  return { name, container: parts.length === 2 ? parts[0] : undefined, baseName };
}
