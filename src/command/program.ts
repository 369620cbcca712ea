import { randomBytes } from 'node:crypto';
import { Command, InvalidArgumentError } from 'commander';
import type { SessionRecord } from '../core/record.js';
import { engineClockOf } from '../core/engine-clock.js';
import { findingsOf, type StoreFinding, wrongClock } from '../core/findings.js';
import { confirm } from './confirm.js';
import { EXIT, wrongUsage } from './failure.js';
import { assertAnswers, inTime, openStore, type OpenStore, type StoreOptions } from './open-store.js';
import { instant, Printer, table } from './printer.js';
import { shownStats, statsOf } from './stats.js';

interface GlobalOptions {
  json?: true;
}

interface EndOptions {
  principal?: string;
  except?: string;
  all?: true;
  before?: number | 'now';
  yes?: true;
}

/** Bytes of a new key, as production asks for. */
const SECRET_BYTES = 32;

/** The most characters of a User-Agent that a table shows. */
const SHOWN_USER_AGENT = 60;

const HELP = `
The store, as --store or the environment variable SESSION_STORE:
  redis://host:6379 (rediss:// with TLS; several with commas for a cluster), postgres://user@host/database,
  mysql://user@host/database, sqlite:./sessions.db, lmdb:./data/sessions
The driver is that of the application in the current folder.

Exit codes:
  0 done   1 the answer is no: a finding, or no such session   2 wrong usage   3 the store failed`;

/** Returns the command line. Each subcommand reports its exit code to `exit`. */
export function program(write: (text: string) => void, exit: (code: number) => void): Command {
  const root = new Command('routing-controllers-sessions')
    .description('Looks after the store of the sessions, without the application.')
    .addHelpText('after', HELP)
    .option('--debug', 'print the stack of an error');

  const subcommand = (name: string, description: string): Command =>
    root
      .command(name)
      .description(description)
      .option('--json', 'print JSON in one line')
      .option('--debug', 'print the stack of an error');
  const onStore = (name: string, description: string): Command =>
    subcommand(name, description)
      .option('--store <address>', 'the address of the store (or the environment variable SESSION_STORE)')
      .option('--prefix <text>', "the prefix of the keys in Redis, if it is not 'session:'")
      .option('--table <name>', 'the table, if it is not routing_controllers_sessions')
      .option('--timeout <seconds>', "how long to wait for the store's first answer", seconds, 5_000);
  const printerOf = ({ json }: GlobalOptions): Printer => new Printer(json === true, write);

  subcommand('secret', 'Makes a key for secretKey.').action((options: GlobalOptions) => {
    const secret = randomBytes(SECRET_BYTES).toString('base64url');
    printerOf(options).print({ secret }, secret);
  });

  onStore('migrate', 'Makes the table and its indexes, or brings them up to date.').action(
    (options: GlobalOptions & StoreOptions) =>
      withStore(options, { isNew: true }, async store => {
        if (store.migrate) await store.migrate();
        else await assertAnswers(store, options);
        printerOf(options).print({ store: store.address.shown, ready: true }, `${store.address.shown} is ready`);
      }),
  );

  onStore('check', 'Looks at the server and its set-up, and says what is wrong.').action(
    (options: GlobalOptions & StoreOptions) =>
      withStore(options, {}, async store => {
        const findings = await inTime(findingsIn(store), Math.max(options.timeout, LONGEST_CHECK));
        const lines = findings.map(({ code, message, advice }) => `${code}: ${message}. ${advice}`);
        printerOf(options).print({ store: store.address.shown, findings }, lines.join('\n') || 'nothing is wrong');
        if (findings.length > 0) exit(EXIT.no);
      }),
  );

  onStore('stats', 'Counts the sessions: by age, by principal, and what the sweep has still to remove.')
    .option('--top <number>', 'how many of the principals with the most sessions are named', wholeNumber, 10)
    .action((options: GlobalOptions & StoreOptions & { top: number }) =>
      withStore(options, {}, async store => {
        await assertAnswers(store, options);
        const stats = await statsOf(store, await nowIn(store), options.top);
        printerOf(options).print(stats, shownStats(stats));
      }),
    );

  onStore('list', "Lists a principal's sessions, newest first, without tokens and data.")
    .argument('<principal>', 'whose sessions')
    .option('--limit <number>', 'the most sessions', wholeNumber, 100)
    .action((principal: string, options: GlobalOptions & StoreOptions & { limit: number }) =>
      withStore(options, {}, async store => {
        await assertAnswers(store, options);
        const records = await store.backend.listByPrincipal(principal, options.limit);
        const now = await nowIn(store);
        const sessions = records.sort((a, b) => b.createdAt - a.createdAt).map(record => shownRecord(record, now));
        const head = ['id', 'log-in', 'last seen', 'expires', '', 'ip', 'user agent'];
        const rows = sessions.map(({ id, createdAt, lastSeenAt, expiresAt, expired, ip = '', userAgent = '' }) => {
          const agent = userAgent.slice(0, SHOWN_USER_AGENT);
          return [id, createdAt, lastSeenAt, expiresAt, expired ? 'expired' : '', ip, agent];
        });
        printerOf(options).print({ principal, sessions }, rows.length === 0 ? 'no sessions' : table([head, ...rows]));
      }),
    );

  onStore('end', 'Ends a session, those of a principal, or all that began before an instant.')
    .argument('[id]', 'the id of one session')
    .option('--principal <principal>', 'end all sessions of this principal')
    .option('--except <id>', 'with --principal: all but this one')
    .option('--all', "end everybody's sessions")
    .option('--before <instant>', 'with --all: those that began before it, as 2026-01-31T09:00:00Z, or now', timeOf)
    .option('--yes', 'with --all: do not ask')
    .action((id: string | undefined, options: GlobalOptions & StoreOptions & EndOptions) => {
      assertOneWay(id, options);
      return withStore(options, {}, async store => {
        const printer = printerOf(options);
        await assertAnswers(store, options);
        const { backend, address } = store;
        if (id !== undefined) {
          const ended = (await backend.delete(id)) ? 1 : 0;
          printer.print({ ended }, ended === 1 ? 'ended' : 'there is no such session');
          if (ended === 0) exit(EXIT.no);
        } else if (options.principal !== undefined) {
          const ids = await backend.deleteByPrincipal(options.principal, options.except);
          printer.print({ ended: ids.length }, `${ids.length} ended`);
        } else {
          // A session of the same millisecond began before now.
          const before = typeof options.before === 'number' ? options.before : (await nowIn(store)) + 1;
          const question = `End all sessions in ${address.shown} that began before ${instant(before)}?`;
          if (options.yes !== true) await confirm(question);
          const ended = await backend.deleteAll(before);
          printer.print({ ended, before: instant(before) }, `${ended} ended that began before ${instant(before)}`);
        }
      });
    });

  onStore('backup', 'Copies an LMDB store that is in use into a new folder.')
    .argument('<folder>', 'does not exist, or is empty')
    .action((folder: string, options: GlobalOptions & StoreOptions) =>
      withStore(options, {}, async store => {
        if (!store.backup)
          throw wrongUsage(`backup: only for lmdb:; a ${store.address.engine} server has tools of its own for that`);
        await store.backup(folder);
        printerOf(options).print(
          { store: store.address.shown, folder },
          `${store.address.shown} is copied to ${folder}`,
        );
      }),
    );
  return root;
}

/** Milliseconds. A check asks the server several things. */
const LONGEST_CHECK = 10_000;

async function withStore(
  options: StoreOptions,
  { isNew = false }: { isNew?: boolean },
  use: (store: OpenStore) => Promise<void>,
): Promise<void> {
  const store = await openStore(options, isNew);
  try {
    await use(store);
  } finally {
    await store.backend.close();
    await store.close();
  }
}

/** Does what SessionCookie.check does. */
async function findingsIn({ backend }: OpenStore): Promise<StoreFinding[]> {
  const findings = (await findingsOf(backend)?.()) ?? [];
  const engine = await engineClockOf(backend)?.();
  const clock = engine === undefined ? undefined : wrongClock(Date.now() - engine);
  return clock ? [...findings, clock] : findings;
}

/** The engine's time, if it has one, because the machine of an operator may be any. */
async function nowIn({ backend }: OpenStore): Promise<number> {
  return (await engineClockOf(backend)?.()) ?? Date.now();
}

function shownRecord(record: SessionRecord, now: number) {
  const { id, createdAt, lastSeenAt, expiresAt, ip, userAgent } = record;
  return {
    id,
    createdAt: instant(createdAt),
    lastSeenAt: instant(lastSeenAt),
    expiresAt: instant(expiresAt),
    expired: expiresAt <= now,
    ...(ip !== undefined && { ip }),
    ...(userAgent !== undefined && { userAgent }),
  };
}

function assertOneWay(id: string | undefined, { principal, except, all, before, yes }: EndOptions): void {
  const ways = [id, principal, all].filter(way => way !== undefined).length;
  if (ways !== 1)
    throw wrongUsage('end: write one of: end <id>, end --principal <principal>, end --all --before <instant>');
  if (all && before === undefined)
    throw wrongUsage('end --all: add --before <instant>, as 2026-01-31T09:00:00Z, or now');
  if (!all && (before !== undefined || yes))
    throw wrongUsage('end: --before and --yes belong to --all; leave them out');
  if (except !== undefined && principal === undefined)
    throw wrongUsage('end: --except belongs to --principal; leave it out');
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('Write a whole number from 1.');
  return value;
}

/** Returns milliseconds. */
function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 3_600)) throw new InvalidArgumentError('Write seconds, up to 3600.');
  return value * 1000;
}

/** An instant without a time zone would mean another one on each machine. */
function timeOf(text: string): number | 'now' {
  if (text === 'now') return 'now';
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(time))
    throw new InvalidArgumentError('Write an instant with its time zone, as 2026-01-31T09:00:00Z, or now.');
  return time;
}
