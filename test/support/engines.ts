import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

/** A server that a test started: in a temporary folder, on a free port of 127.0.0.1, and gone with `stop`. */
export interface PrivateServer {
  readonly port: number;
  readonly folder: string;
  /** Starts it again, on the same port and folder, after it was stopped or killed. */
  start(): Promise<void>;
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise(resolve => server.close(resolve));
  if (typeof address !== 'object' || address === null) throw new Error('A server on a port has no port');
  return address.port;
}

/** Polls a condition until it is true. @throws when that takes too long */
export async function until(condition: () => boolean | Promise<boolean>, what: string, seconds = 120): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Waited ${seconds} s in vain for ${what}`);
    await wait(20);
  }
}

export function listens(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ port, host });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/**
 * The path of an installed program. Debian keeps PostgreSQL's programs outside the PATH; `REDIS_SERVER` names a stand-in for
 * redis-server.
 */
export function findProgram(name: string): string | undefined {
  const standIn = process.env['REDIS_SERVER'];
  if (name === 'redis-server' && standIn !== undefined && standIn !== '') return standIn;
  const postgres = '/usr/lib/postgresql';
  const versions = existsSync(postgres)
    ? readdirSync(postgres).map(version => path.join(postgres, version, 'bin'))
    : [];
  // Servers of Debian's are where the PATH of a user who is not root does not lead.
  const folders = [...(process.env['PATH'] ?? '').split(path.delimiter), ...versions, '/usr/sbin'];
  const suffix = process.platform === 'win32' ? '.exe' : '';
  return folders.map(folder => path.join(folder, name + suffix)).find(file => existsSync(file));
}

export async function startRedis(options: string[] = []): Promise<PrivateServer> {
  const program = findProgram('redis-server');
  if (program === undefined) throw new Error('redis-server is not installed');
  const port = await freePort();
  const folder = mkdtempSync(path.join(tmpdir(), 'rcs-redis-'));
  const args = [
    '--bind',
    '127.0.0.1',
    '--port',
    String(port),
    '--dir',
    folder,
    '--save',
    '',
    '--loglevel',
    'warning',
    ...options,
  ];
  return startServer(port, folder, () => spawn(program, args, { stdio: 'ignore' }));
}

/**
 * A Sentinel that watches one master.
 *
 * @param settings of its `sentinel` directive, for that master
 */
export async function startSentinel(
  name: string,
  masterPort: number,
  settings: Record<string, number> = {},
): Promise<PrivateServer> {
  const program = findProgram('redis-server');
  if (program === undefined) throw new Error('redis-server is not installed');
  const port = await freePort();
  const folder = mkdtempSync(path.join(tmpdir(), 'rcs-sentinel-'));
  const config = path.join(folder, 'sentinel.conf');
  const more = Object.entries(settings).map(([setting, value]) => `sentinel ${setting} ${name} ${value}\n`);
  writeFileSync(
    config,
    `bind 127.0.0.1\nport ${port}\ndir ${folder}\nsentinel monitor ${name} 127.0.0.1 ${masterPort} 1\n${more.join('')}`,
  );
  return startServer(port, folder, () => spawn(program, [config, '--sentinel'], { stdio: 'ignore' }));
}

async function startServer(
  port: number,
  folder: string,
  launch: () => ChildProcess,
  isReady = () => listens(port),
): Promise<PrivateServer> {
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    await until(async () => {
      // A PostgreSQL that was killed leaves processes behind for a moment, and refuses to start beside them.
      if (!child || child.exitCode !== null || child.signalCode !== null) child = launch();
      return isReady();
    }, `the server on port ${port}`);
  };
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise(resolve => child?.once('exit', resolve));
    child.kill(signal);
    await exited;
  };
  const stop = async (): Promise<void> => {
    await kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  await start();
  return { port, folder, start, kill, stop };
}

const isRoot = (): boolean => process.getuid?.() === 0;

/** PostgreSQL and PgBouncer refuse to run as root, which CI and containers often are: then they run as PostgreSQL's user. */
function asPostgres(program: string, args: string[]): [string, string[]] {
  const setpriv = ['--reuid=postgres', '--regid=postgres', '--init-groups', program, ...args];
  return isRoot() ? ['setpriv', setpriv] : [program, args];
}

export async function startPostgres(settings: Record<string, string> = {}): Promise<PrivateServer> {
  const [initdb, postgres, pgIsReady] = ['initdb', 'postgres', 'pg_isready'].map(findProgram);
  if (initdb === undefined || postgres === undefined || pgIsReady === undefined)
    throw new Error('PostgreSQL is not installed');
  const port = await freePort();
  const folder = mkdtempSync(path.join(tmpdir(), 'rcs-postgres-'));
  const data = path.join(folder, 'data');
  if (isRoot()) execFileSync('chown', ['postgres', folder]);
  execFileSync(
    ...asPostgres(initdb, ['-D', data, '-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync']),
    {
      stdio: 'ignore',
      cwd: folder,
    },
  );
  const all: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    ...settings,
  };
  const args = ['-D', data, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
  const launch = (): ChildProcess => spawn(...asPostgres(postgres, args), { stdio: 'ignore', cwd: folder });
  // It listens for a while before it accepts connections.
  const isReady = (): Promise<boolean> =>
    Promise.resolve(spawnSync(pgIsReady, ['--quiet', '--host=127.0.0.1', `--port=${port}`]).status === 0);
  return startServer(port, folder, launch, isReady);
}

/** A MariaDB with an empty database `sessions` and a user `root` without a password. */
export async function startMariadb(settings: Record<string, string> = {}): Promise<PrivateServer> {
  const [install, mariadbd] = ['mariadb-install-db', 'mariadbd'].map(findProgram);
  if (install === undefined || mariadbd === undefined) throw new Error('MariaDB is not installed');
  const port = await freePort();
  const folder = mkdtempSync(path.join(tmpdir(), 'rcs-mariadb-'));
  const options = (all: Record<string, string>): string[] => [
    '--no-defaults',
    ...Object.entries(all).map(([name, value]) => `--${name}=${value}`),
  ];
  // Servers that share a folder for temporary tables take each other's.
  const common = { datadir: path.join(folder, 'data'), tmpdir: folder, ...(isRoot() && { user: 'root' }) };
  const small = { 'innodb-log-file-size': '16M', 'innodb-buffer-pool-size': '64M' };
  const once = { 'debug-no-sync': 'ON', 'auth-root-authentication-method': 'normal' };
  execFileSync(install, [...options({ ...common, ...small, ...once }), '--skip-test-db'], { stdio: 'ignore' });
  const init = path.join(folder, 'init.sql');
  writeFileSync(init, 'CREATE DATABASE IF NOT EXISTS sessions;\n');
  const all = {
    ...common,
    ...small,
    port: String(port),
    'bind-address': '127.0.0.1',
    socket: path.join(folder, 'socket'),
    'pid-file': path.join(folder, 'pid'),
    'init-file': init,
    ...settings,
  };
  return startServer(port, folder, () => spawn(mariadbd, options(all), { stdio: 'ignore' }));
}

/** A PgBouncer in transaction mode before a PostgreSQL, which it gives so many connections. */
export async function startPgBouncer(postgresPort: number, connections: number): Promise<PrivateServer> {
  const program = findProgram('pgbouncer');
  if (program === undefined) throw new Error('pgbouncer is not installed');
  const port = await freePort();
  const folder = mkdtempSync(path.join(tmpdir(), 'rcs-pgbouncer-'));
  const [config, users] = [path.join(folder, 'pgbouncer.ini'), path.join(folder, 'users.txt')];
  const settings = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'trust',
    auth_file: users,
    pool_mode: 'transaction',
    default_pool_size: connections,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  writeFileSync(users, '"postgres" ""\n');
  writeFileSync(config, `[databases]\n* = host=127.0.0.1 port=${postgresPort}\n[pgbouncer]\n${lines.join('\n')}\n`);
  if (isRoot()) execFileSync('chown', ['-R', 'postgres', folder]);
  return startServer(port, folder, () =>
    spawn(...asPostgres(program, ['--quiet', config]), { stdio: 'ignore', cwd: folder }),
  );
}

const ENGINES = {
  redis: { variables: ['REDIS_URL'], program: 'redis-server' },
  postgres: { variables: ['POSTGRES_URL', 'DATABASE_URL'], program: 'postgres' },
  pgbouncer: { variables: [], program: 'pgbouncer' },
  mysql: { variables: ['MYSQL_URL'], program: 'mariadbd' },
  mariadb: { variables: [], program: 'mariadbd' },
} as const;

/** The address of an engine that the environment names. */
export function engineUrl(engine: keyof typeof ENGINES): string | undefined {
  return ENGINES[engine].variables.map(name => process.env[name]).find(url => url !== undefined && url !== '');
}

/** `describe` for tests on an engine. Where it is missing they are skipped, loudly; in CI they fail. */
export function describeWith(engine: keyof typeof ENGINES, name: string, body: () => void): void {
  const { variables, program } = ENGINES[engine];
  if (engineUrl(engine) !== undefined || findProgram(program) !== undefined) {
    describe(name, body);
    return;
  }
  const unset = variables.length > 0 ? ` and ${variables.join(' or ')} is not set` : '';
  const help = `${program} is not installed${unset}. To install it: npm run engines`;
  if (process.env['CI'] === 'true') {
    it(`${name}: ${program} is there`, () => {
      throw new Error(help);
    });
    return;
  }
  process.stderr.write(`\nSKIPPED: ${name}: ${help}\n`);
  describe.skip(name, body);
}

/** The address of the PostgreSQL that the environment names, or of a private one. */
export async function postgresUrl(): Promise<{ url: string; stop: () => Promise<void> }> {
  const named = engineUrl('postgres');
  if (named !== undefined) return { url: named, stop: () => Promise.resolve() };
  // A write need not reach the disk where no machine loses its power.
  const server = await startPostgres({ fsync: 'off' });
  return { url: `postgres://postgres@127.0.0.1:${server.port}/postgres`, stop: () => server.stop() };
}

/** The address of the MySQL or MariaDB that the environment names, with a database in it, or of a private MariaDB. */
export async function mysqlUrl(): Promise<{ url: string; stop: () => Promise<void> }> {
  const named = engineUrl('mysql');
  if (named !== undefined) return { url: named, stop: () => Promise.resolve() };
  // A write need not reach the disk where nothing is killed.
  const server = await startMariadb({ 'innodb-flush-log-at-trx-commit': '2' });
  return { url: mariadbUrl(server), stop: () => server.stop() };
}

export function mariadbUrl({ port }: Pick<PrivateServer, 'port'>): string {
  return `mysql://root@127.0.0.1:${port}/sessions`;
}
