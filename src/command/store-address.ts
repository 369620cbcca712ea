import { wrongUsage } from './failure.js';

const ENGINES: Readonly<Record<string, StoreAddress['engine']>> = Object.freeze({
  redis: 'redis',
  rediss: 'redis',
  postgres: 'postgres',
  postgresql: 'postgres',
  mysql: 'mysql',
  mariadb: 'mysql',
  sqlite: 'sqlite',
  lmdb: 'lmdb',
});

/** The address of a store. */
export interface StoreAddress {
  engine: 'redis' | 'postgres' | 'mysql' | 'sqlite' | 'lmdb';
  /** For the driver: addresses with user and password, or a path. Several of a Redis cluster. */
  urls: string[];
  /** For people: without user, password and parameters. */
  shown: string;
  /** The parts that nobody may see. */
  secrets: string[];
}

const EXAMPLES =
  'redis://host:6379, postgres://user@host/database, mysql://…, sqlite:./sessions.db or lmdb:./data/sessions';

/**
 * Reads the address of a store: `redis://` or `rediss://` (of a cluster, several with commas between), `postgres://`, `mysql://`,
 * `sqlite:<file>` or `lmdb:<folder>`. Messages never repeat it, because there may be a password in it.
 */
export function storeAddressOf(text: string | undefined): StoreAddress {
  if (text === undefined || text === '')
    throw wrongUsage(
      `no store: give its address with --store, or in the environment variable SESSION_STORE: ${EXAMPLES}`,
    );
  const engine = ENGINES[/^([a-z]+):/i.exec(text)?.[1]?.toLowerCase() ?? ''];
  if (!engine) throw wrongUsage(`--store: not an address of a store; write one like ${EXAMPLES}`);
  if (engine === 'sqlite' || engine === 'lmdb') return addressOfPath(engine, text);
  const urls = engine === 'redis' ? text.split(',').filter(url => url !== '') : [text];
  const parsed = urls.map(url => parse(url, engine));
  const shown = parsed.map(({ protocol, host, pathname }) => `${protocol}//${host}${pathname === '/' ? '' : pathname}`);
  const secrets = parsed.flatMap(({ password }, n) => [urls[n] ?? '', password, decoded(password)]);
  return { engine, urls, shown: shown.join(','), secrets: secrets.filter(secret => secret.length > 2) };
}

function addressOfPath(engine: 'sqlite' | 'lmdb', text: string): StoreAddress {
  const path = text.slice(engine.length + 1).replace(/^\/\/(?=\/)/, '');
  if (path === '' || path.startsWith('//'))
    throw wrongUsage(`--store: ${engine}: without a path; write ${engine}:./path, or ${engine}:/path`);
  return { engine, urls: [path], shown: `${engine}:${path}`, secrets: [] };
}

function parse(text: string, engine: string): URL {
  try {
    const url = new URL(text);
    if (ENGINES[url.protocol.slice(0, -1)] === engine && url.host !== '') return url;
  } catch {
    // Told below, without the text.
  }
  throw wrongUsage(`--store: not an address of ${engine}; write one like ${EXAMPLES}`);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
