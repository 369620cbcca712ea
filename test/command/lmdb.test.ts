import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import type { SessionRecord } from '../../src/core/record.js';
import { bundleModule } from '../support/child.js';
import { freePort } from '../support/engines.js';
import { type Ran, runCommand, runForJson } from '../support/run-command.js';
import { sessionRecord } from '../support/session-record.js';

const HOUR = 3_600_000;

/** Stands in all that nobody may see. */
const HIDDEN = 'hunter2-hidden';

const folder = mkdtempSync(path.join(tmpdir(), 'rcs-command-'));
const store = `lmdb:${folder}/sessions`;
const now = Date.now();
let backend: LmdbBackend;
let ran: Ran[] = [];

/** Runs the command on the store, and keeps what it printed. */
async function command(...args: string[]): Promise<Ran> {
  const result = await runCommand(args, { store });
  ran.push(result);
  return result;
}

const make = async (changes: Partial<SessionRecord> = {}): Promise<SessionRecord> => {
  const hidden = { data: JSON.stringify({ hidden: HIDDEN }), proof: `proof-${HIDDEN}` };
  const record = sessionRecord({ createdAt: now - 1000, expiresAt: now + HOUR, ...hidden, ...changes });
  await backend.create(record);
  return record;
};

beforeEach(() => {
  backend = new LmdbBackend({ path: `${folder}/sessions` });
});
afterEach(async () => {
  await backend.deleteAll(Infinity);
  await backend.close();
  for (const { stdout, stderr } of ran) expect(stdout + stderr).not.toContain(HIDDEN);
  ran = [];
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('secret: makes a key of 32 bytes, another one each time', async () => {
  const [first, second] = [await runCommand(['secret']), await runCommand(['secret', '--json'])];
  const { secret } = JSON.parse(second.stdout) as { secret: string };
  for (const key of [first.stdout.trim(), secret]) expect(Buffer.from(key, 'base64url')).toHaveLength(32);
  expect(first.stdout.trim()).not.toBe(secret);
  expect([first.code, second.code, first.stderr + second.stderr]).toEqual([0, 0, '']);
});

test.each(['-NwUZr-e4Z8KGHNlzLV3zA', '-hV3zAr-e4Z8KGHNlzLV3z', '--json-e4Z8KGHNlzLV3zA'])(
  'end: takes an id that looks like an option: %s',
  async id => {
    await make({ id });
    expect(await runForJson(['end', id], store)).toEqual({ code: 0, json: { ended: 1 } });
    expect(await command('end', id)).toMatchObject({ code: 1, stdout: 'there is no such session\n' });
    const [kept, other] = [await make({ id, principal: 'ada' }), await make({ principal: 'ada' })];
    expect(await command('end', '--principal', 'ada', '--except', id)).toMatchObject({ code: 0, stdout: '1 ended\n' });
    expect([await backend.read(kept.id), await backend.read(other.id)]).toEqual([kept, undefined]);
  },
);

test('check: nothing is wrong', async () => {
  expect(await command('check')).toMatchObject({ code: 0, stdout: 'nothing is wrong\n', stderr: '' });
  expect(await runForJson(['check'], store)).toEqual({ code: 0, json: { store, findings: [] } });
});

test('stats: counts by age and by principal, and what has expired', async () => {
  for (let n = 0; n < 7; n++) await make({ principal: 'ada' });
  for (const principal of ['bob', 'bob', 'eve']) await make({ principal, createdAt: now - 2 * HOUR });
  await make({ createdAt: now - 200 * HOUR, expiresAt: now + 1000 * HOUR });
  await make({ principal: 'gone', createdAt: now - 9 * HOUR, expiresAt: now - 3 * HOUR });
  const { code, json } = await runForJson(['stats', '--top', '2'], store);
  expect(code).toBe(0);
  expect(json).toEqual({
    store,
    time: expect.stringMatching(/^\d{4}-.*Z$/),
    records: 12,
    living: 11,
    expired: 1,
    oldestExpired: new Date(now - 3 * HOUR).toISOString(),
    unknown: 0,
    anonymous: 1,
    ages: {
      'under 1 hour': 7,
      '1 hour to 1 day': 3,
      '1 to 7 days': 0,
      '7 to 30 days': 1,
      '30 days and more': 0,
    },
    principals: {
      count: 3,
      bySessions: { '1': 1, '2 to 5': 1, '6 to 20': 1, '21 to 100': 0, 'more than 100': 0 },
      largest: [
        { principal: 'ada', sessions: 7 },
        { principal: 'bob', sessions: 2 },
      ],
    },
    bytes: { records: expect.any(Number), store: expect.any(Number) },
  });
  const { stdout } = await command('stats');
  expect(stdout).toMatch(/^records +12\n {2}living +11\n {4}without a principal +1\n {2}expired, not removed yet +1\n/);
  expect(stdout).toMatch(/^under 1 hour +7$/m);
  expect(stdout).toMatch(/^6 to 20 +1$/m);
  expect(stdout).toMatch(/^ada +7$/m);
});

test("list: a principal's sessions, newest first, and nothing that a terminal obeys", async () => {
  const first = await make({ principal: 'ada', createdAt: now - 2000, ip: '10.0.0.1' });
  const second = await make({ principal: 'ada', userAgent: '\u001b[2J\u202eFirefox\n' });
  const over = await make({ principal: 'ada', createdAt: now - 5 * HOUR, expiresAt: now - 1 });
  const { json } = await runForJson(['list', 'ada'], store);
  const sessions = [second, first, over].map(({ id, createdAt, lastSeenAt, expiresAt, ip, userAgent }, n) => ({
    id,
    createdAt: new Date(createdAt).toISOString(),
    lastSeenAt: new Date(lastSeenAt).toISOString(),
    expiresAt: new Date(expiresAt).toISOString(),
    expired: n === 2,
    ...(ip !== undefined && { ip }),
    ...(userAgent !== undefined && { userAgent }),
  }));
  expect(json).toEqual({ principal: 'ada', sessions });
  const { stdout } = await command('list', 'ada', '--limit', '2');
  const lines = stdout.trimEnd().split('\n');
  expect(lines).toHaveLength(3);
  expect(lines[0]).toMatch(/^id +log-in +last seen +expires +ip +user agent$/);
  expect(lines[1]).toContain(`${second.id}  ${new Date(second.createdAt).toISOString()}`);
  expect(lines[1]).toContain('\\u{1b}[2J\\u{202e}Firefox\\u{a}');
  expect(lines[2]).toContain(first.id);
  expect(await command('list', 'nobody')).toMatchObject({ code: 0, stdout: 'no sessions\n' });
});

test('end: one by its id, and 1 for one that is not there', async () => {
  const { id } = await make();
  expect(await command('end', id)).toMatchObject({ code: 0, stdout: 'ended\n' });
  expect(await command('end', id)).toMatchObject({ code: 1, stdout: 'there is no such session\n' });
  expect(await runForJson(['end', id], store)).toEqual({ code: 1, json: { ended: 0 } });
});

test('end --principal: all of one, or all but one', async () => {
  const made = [];
  for (let n = 0; n < 4; n++) made.push(await make({ principal: 'ada' }));
  await make({ principal: 'bob' });
  const spared = made[0]!.id;
  expect(await command('end', '--principal', 'ada', '--except', spared)).toMatchObject({
    code: 0,
    stdout: '3 ended\n',
  });
  expect(await runForJson(['end', '--principal', 'ada'], store)).toEqual({ code: 0, json: { ended: 1 } });
  expect(await backend.listByPrincipal('bob')).toHaveLength(1);
});

test('end --all: those that began before, after --yes, and never without a terminal to ask on', async () => {
  const before = new Date(now - HOUR).toISOString();
  for (let n = 0; n < 3; n++) await make({ principal: 'ada', createdAt: now - HOUR - 1 });
  const later = await make({ principal: 'ada', createdAt: now - HOUR });
  expect(await command('end', '--all', '--before', before)).toMatchObject({
    code: 2,
    stdout: '',
    stderr: 'routing-controllers-sessions: there is no terminal to ask on: add --yes if all of them are to end\n',
  });
  expect(await backend.listByPrincipal('ada')).toHaveLength(4);
  const zoned = before.replace('Z', '+00:00');
  expect(await runForJson(['end', '--all', '--before', zoned, '--yes'], store)).toEqual({
    code: 0,
    json: { ended: 3, before },
  });
  expect((await backend.listByPrincipal('ada')).map(({ id }) => id)).toEqual([later.id]);
  expect((await command('end', '--all', '--before', 'now', '--yes')).stdout).toMatch(
    /^1 ended that began before \d{4}-/,
  );
});

test('end --all on a terminal asks, and ends nothing when the answer is not yes', async () => {
  await make();
  const script = (answer: string): string => {
    const line = `node ${bundleModule('../../src/command/main')} end --all --before now; echo code $?`;
    return execFileSync('script', ['-qec', line, '/dev/null'], {
      input: answer,
      encoding: 'utf8',
      env: { ...process.env, SESSION_STORE: store },
    });
  };
  const no = script('n\n');
  expect(no).toContain(`End all sessions in ${store} that began before `);
  expect(no).toMatch(/nothing was ended\r?\ncode 1/);
  expect(script('y\n')).toMatch(/1 ended that began before .*\r?\ncode 0/);
});

test('backup: copies the store while it is open, into a folder that is not there', async () => {
  const { id } = await make();
  const copy = path.join(folder, 'copy');
  expect(await command('backup', copy)).toMatchObject({ code: 0, stdout: `${store} is copied to ${copy}\n` });
  const other = new LmdbBackend({ path: copy });
  expect(await other.read(id)).toMatchObject({ id });
  await other.close();
  expect(await command('backup', copy)).toMatchObject({ code: 3, stdout: '' });
});

test('what is not there is not made, but by migrate', async () => {
  const missing = path.join(folder, 'missing');
  const look = await runCommand(['stats', '--store', `lmdb:${missing}`]);
  expect(look).toMatchObject({ code: 3, stdout: '' });
  expect(look.stderr).toContain('migrate makes it');
  expect(existsSync(missing)).toBe(false);
  expect(await runCommand(['migrate', '--store', `lmdb:${missing}`])).toMatchObject({ code: 0, stderr: '' });
  expect(existsSync(path.join(missing, 'data.mdb'))).toBe(true);
});

const USAGES: [string, string[], string][] = [
  ['no store', ['stats'], 'no store: give its address with --store'],
  ['an address of nothing', ['stats', '--store', `ftp://ada:${HIDDEN}@host`], 'not an address of a store'],
  ['an address that is broken', ['stats', '--store', `redis://ada:${HIDDEN}@`], 'not an address of redis'],
  ['a path that is missing', ['stats', '--store', 'lmdb:'], 'lmdb: without a path'],
  ['an unknown subcommand', ['state'], "unknown command 'state'"],
  ['an unknown option', ['stats', '--stor', 'lmdb:x'], "unknown option '--stor'"],
  ['a prefix without Redis', ['stats', '--store', 'lmdb:x', '--prefix', 'a'], '--prefix: only Redis has one'],
  ['a table in LMDB', ['stats', '--store', 'lmdb:x', '--table', 'a'], '--table: lmdb has none'],
  ['nothing to end', ['end', '--store', 'lmdb:x'], 'write one of: end <id>'],
  ['two things to end', ['end', 'x', '--principal', 'ada'], 'write one of: end <id>'],
  ['all without an instant', ['end', '--all', '--yes'], 'add --before <instant>'],
  ['an instant without a time zone', ['end', '--all', '--before', '2026-01-01T00:00:00'], 'with its time zone'],
  ['an instant that is none', ['end', '--all', '--before', '2026-13-01T00:00:00Z'], 'with its time zone'],
  ['an instant for one session', ['end', 'x', '--before', 'now'], 'belong to --all'],
  ['an exception for one session', ['end', 'x', '--except', 'y'], 'belongs to --principal'],
  ['a limit that is none', ['list', 'ada', '--limit', '0'], 'a whole number from 1'],
  ['nobody to list', ['list'], "missing required argument 'principal'"],
];
test.each(USAGES)('%s is 2, with one line that says what to write', async (_what, args, message) => {
  const { code, stdout, stderr } = await runCommand(args);
  expect([code, stdout]).toEqual([2, '']);
  expect(stderr).toMatch(/^routing-controllers-sessions: [^\n]+\n$/);
  expect(stderr).toContain(message);
  expect(stderr).not.toContain(HIDDEN);
});

test('help names every subcommand and the exit codes; nothing at all is 2', async () => {
  const { code, stdout } = await runCommand(['--help']);
  expect(code).toBe(0);
  for (const name of ['secret', 'migrate', 'check', 'stats', 'list', 'end', 'backup', 'Exit codes'])
    expect(stdout).toContain(name);
  expect(await runCommand([])).toMatchObject({ code: 2, stdout: '' });
});

test('a folder without the driver: says what to install', async () => {
  const { code, stderr } = await runCommand(['stats', '--store', 'redis://127.0.0.1'], { cwd: folder });
  expect(code).toBe(3);
  expect(stderr).toMatch(
    /^routing-controllers-sessions: this store needs the package redis or ioredis: npm install redis, in /,
  );
});

test('output into a pipe that nobody reads to its end', async () => {
  // More than a pipe holds.
  await Promise.all(Array.from({ length: 2000 }, () => make({ principal: 'ada' })));
  const line = `node ${bundleModule('../../src/command/main')} list ada --limit 2000 | head -1`;
  const shown = execFileSync('bash', ['-o', 'pipefail', '-c', line], {
    encoding: 'utf8',
    env: { ...process.env, SESSION_STORE: store },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  expect(shown).toMatch(/^id +log-in/);
});

const ADDRESSES = ['redis', 'postgres', 'mysql'].map(
  engine => [engine, `${engine}://ada:${HIDDEN}@127.0.0.1`] as const,
);

test.each(ADDRESSES)(
  'a %s that is not there is 3, at once, and its password is not shown',
  async (_engine, address) => {
    const { code, stdout, stderr } = await runCommand(['stats', '--debug'], {
      store: `${address}:${await freePort()}/0`,
    });
    expect([code, stdout]).toEqual([3, '']);
    expect(stderr).toMatch(/^routing-controllers-sessions: .*ECONNREFUSED/);
    expect(stderr).not.toContain(HIDDEN);
  },
);

describe('a server that does not answer', () => {
  let silent: Server;
  beforeAll(async () => {
    silent = createServer(() => undefined);
    await new Promise<void>(resolve => silent.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => void silent.close());

  test.each(ADDRESSES)('of %s is 3 after --timeout', async (_engine, address) => {
    const { port } = silent.address() as { port: number };
    const args = ['stats', '--timeout', '0.3', '--store', `${address}:${port}/0`];
    const { code, stderr, took } = await runCommand(args);
    expect(code).toBe(3);
    expect(stderr).toMatch(/^routing-controllers-sessions: [^\n]+\n$/);
    expect(stderr).not.toContain(HIDDEN);
    expect(took).toBeLessThan(60_000);
  });
});
