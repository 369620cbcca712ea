import type { Query } from './connection.js';
import type { Table } from './table.js';

/**
 * The version of the table's layout, kept in its comment. A table without a comment of ours has the columns of layout 1.
 * Layout 2: `sweep_at`, so that a touch changes no indexed column; the principals' index has the time of the log-in.
 */
export const LAYOUT = 2;

/** Free space in each page, in which PostgreSQL puts the next version of a row that was touched. */
const FILLFACTOR = 80;

interface Column {
  type: string;
  isOptional?: true;
  /** Compared byte for byte, in a database of any locale. */
  isBytewise?: true;
  rest?: string;
  /** The layout that brought it. */
  since?: number;
}

/** At most expires_at. The default is for processes of an older version, which do not know it: the sweep looks at once. */
const SWEEP_AT: Column = { type: 'double precision', rest: 'DEFAULT 0', since: 2 };

export const COLUMNS: Readonly<Record<string, Column>> = Object.freeze({
  id: { type: 'text', isBytewise: true, rest: 'PRIMARY KEY' },
  principal: { type: 'text', isBytewise: true, isOptional: true },
  data: { type: 'text' },
  proof: { type: 'text' },
  version: { type: 'bigint' },
  created_at: { type: 'double precision' },
  authenticated_at: { type: 'double precision' },
  last_seen_at: { type: 'double precision' },
  expires_at: { type: 'double precision' },
  ip: { type: 'text', isOptional: true },
  user_agent: { type: 'text', isOptional: true },
  sweep_at: SWEEP_AT,
});

export interface Index {
  name: string;
  columns: string;
  where: string;
}

/** The indexes of a table, beside the one of its primary key. */
export function indexesOf({ baseName }: Table): Index[] {
  return [
    { name: `${baseName}_principal`, columns: 'principal, created_at', where: ' WHERE principal IS NOT NULL' },
    { name: `${baseName}_sweep_at`, columns: 'sweep_at', where: '' },
  ];
}

/** The server's report on a table and on the role that asks. */
export interface Facts {
  serverVersion: number;
  serverName: string;
  isStandby: boolean;
  role: string;
  /** The schema that has the table, or would have it. `null`: there is none. */
  schema: string | null;
  mayCreate: boolean;
  table: {
    kind: string;
    comment: string | null;
    isOwner: boolean;
    owner: string;
    missingRights: string[];
    key: string | null;
    columns: Record<string, { type: string; isRequired: boolean; hasDefault: boolean }>;
  } | null;
  /** The relations of the schema that have the names of the indexes, and of those of layout 1. */
  named: Record<string, { isOurs: boolean; isValid: boolean; columns: string | null }>;
}

const COLUMNS_OF = (index: string): string =>
  `(SELECT string_agg(pg_get_indexdef(${index}.indexrelid, n, true), ', ' ORDER BY n) FROM generate_series(1, ${index}.indnkeyatts) AS n)`;

const FACTS = `
  SELECT json_build_object(
    'serverVersion', current_setting('server_version_num')::int,
    'serverName', current_setting('server_version'),
    'isStandby', pg_is_in_recovery(),
    'role', current_user,
    'schema', place.nspname,
    'mayCreate', coalesce(has_schema_privilege(place.oid, 'CREATE'), false),
    'table', (
      SELECT json_build_object(
        'kind', stored.relkind,
        'comment', obj_description(stored.oid, 'pg_class'),
        'isOwner', pg_has_role(stored.relowner, 'USAGE'),
        'owner', pg_get_userbyid(stored.relowner),
        'missingRights', (
          SELECT coalesce(json_agg(needed), '[]') FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS needed
          WHERE NOT has_table_privilege(stored.oid, needed)),
        'key', (SELECT ${COLUMNS_OF('pk')} FROM pg_index AS pk WHERE pk.indrelid = stored.oid AND pk.indisprimary),
        'columns', (
          SELECT coalesce(json_object_agg(attname, json_build_object(
            'type', format_type(atttypid, atttypmod), 'isRequired', attnotnull, 'hasDefault', atthasdef OR attidentity <> '')), '{}')
          FROM pg_attribute WHERE attrelid = stored.oid AND attnum > 0 AND NOT attisdropped)
      ) FROM pg_class AS stored WHERE stored.oid = found.oid),
    'named', (
      SELECT coalesce(json_object_agg(relname, json_build_object(
        'isOurs', coalesce(indrelid = found.oid, false), 'isValid', coalesce(indisvalid, false),
        'columns', ${COLUMNS_OF('pg_index')})), '{}')
      FROM pg_class LEFT JOIN pg_index ON indexrelid = pg_class.oid
      WHERE relnamespace = place.oid AND relname = ANY ($3::text[]))
  )
  FROM (SELECT to_regclass($1) AS oid) AS found
  LEFT JOIN pg_class AS itself ON itself.oid = found.oid
  LEFT JOIN pg_namespace AS place ON place.oid = coalesce(itself.relnamespace, to_regnamespace(coalesce($2, quote_ident(current_schema()))))`;

/** Asks for everything in one statement. Reads nothing of the table itself, and needs no right to it. */
export async function factsOf(query: Query, table: Table): Promise<Facts> {
  const names = [...indexesOf(table).map(({ name }) => name), ...indexesOfLayout1(table)];
  const { rows } = await query({
    text: FACTS,
    values: [table.quoted, table.schema === undefined ? null : `"${table.schema}"`, names],
  });
  return JSON.parse(String(rows[0]?.[0])) as Facts;
}

/** Returns the layout of a table as its comment has it, or as its columns show it. */
export function layoutOf({ comment, columns }: NonNullable<Facts['table']>): number {
  const noted = /^routing-controllers-sessions, layout (\d+)$/.exec(comment ?? '')?.[1];
  if (noted !== undefined) return Number(noted);
  return columns['sweep_at'] ? 2 : 1;
}

/** Returns the statements that bring a table from what the facts say to this layout: none if it is there. */
export function migrationOf({ schema, table: stored, named }: Facts, table: Table): string[] {
  if (stored && layoutOf(stored) > LAYOUT) return [];
  const steps: string[] = [];
  const { quoted } = table;
  const definition = ([name, column]: [string, Column]): string =>
    [name, column.type, column.isBytewise && 'COLLATE "C"', column.isOptional ? '' : 'NOT NULL', column.rest]
      .filter(Boolean)
      .join(' ');
  if (!stored) {
    const columns = Object.entries(COLUMNS).map(definition);
    steps.push(`CREATE TABLE ${quoted} (${columns.join(', ')}) WITH (fillfactor = ${FILLFACTOR})`);
  } else if (!stored.columns['sweep_at']) {
    steps.push(
      `ALTER TABLE ${quoted} ADD COLUMN ${definition(['sweep_at', SWEEP_AT])}, SET (fillfactor = ${FILLFACTOR})`,
      `UPDATE ${quoted} SET sweep_at = expires_at`,
    );
  }
  const wanted = indexesOf(table);
  const isThere = ({ name, columns }: Index): boolean => named[name]?.columns === columns && named[name].isValid;
  const dropped = [...indexesOfLayout1(table), ...wanted.filter(index => !isThere(index)).map(({ name }) => name)];
  for (const name of dropped) if (named[name]?.isOurs) steps.push(`DROP INDEX "${schema ?? ''}"."${name}"`);
  for (const index of wanted) {
    const { name, columns, where } = index;
    if (!isThere(index)) steps.push(`CREATE INDEX "${name}" ON ${quoted} (${columns})${where}`);
  }
  if (steps.length > 0) steps.push(`COMMENT ON TABLE ${quoted} IS 'routing-controllers-sessions, layout ${LAYOUT}'`);
  return steps;
}

function indexesOfLayout1({ baseName }: Table): string[] {
  return [`${baseName}_expires_at`];
}
