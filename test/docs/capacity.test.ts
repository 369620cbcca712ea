import 'reflect-metadata';

import { IsInt, IsString } from 'class-validator';
import { createPool } from 'mysql2/promise';
import { Client, Pool } from 'pg';
import { createClient } from 'redis';
import {
  OptionalProps,
  Principal,
  type Session,
  type SessionBackend,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { MysqlBackend } from 'routing-controllers-sessions/mysql';
import { migrate, PostgresBackend } from 'routing-controllers-sessions/postgres';
import { RedisBackend } from 'routing-controllers-sessions/redis';

import { Clock } from '../support/clock.js';
import { describeWith, mariadbUrl, startMariadb, startPostgres, startRedis } from '../support/engines.js';
import { visit } from '../support/in-process.js';
import { withClient } from '../support/redis-cluster.js';
import { readDocument, tableUnder } from './markdown.js';

/** About 300 bytes of data, as in the other measurements. */
@SessionData
class UserSession {
  declare [OptionalProps]?: 'visits' | 'filler';
  @IsString() @Principal() username!: string;
  @IsInt() visits = 0;
  @IsString() filler = 'x'.repeat(250);
}

const opened: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

/** The commands that an operation sends, and the bytes on the wire in both directions. */
type Cost = [commands: number, bytes: number];
type Measure = (operation: () => Promise<unknown>) => Promise<Cost>;

/** Runs each operation twice, and returns the costs of the second time: connections are open then, and scripts loaded. */
async function costsOf(backend: SessionBackend, measure: Measure): Promise<Map<string, Cost>> {
  const clock = new Clock();
  const sessions = new SessionCookie({
    dataModel: UserSession,
    secretKey: 'k'.repeat(32),
    backend,
    clock: clock.now,
    backendTimeout: 60,
    sweepInterval: 0,
  });
  let token: string | undefined;
  let touching: Promise<unknown> | undefined;
  const touch = backend.touch.bind(backend);
  backend.touch = (...args) => {
    const touched = touch(...args);
    touching = touched;
    return touched;
  };
  const send = async (act: (session: Session<UserSession>) => unknown = () => undefined) => {
    const answer = await visit(sessions, { token }, async ctx => {
      const session = await sessions.getSession(ctx);
      if (!session) throw new Error('the request is anonymous');
      await act(session);
    });
    if (answer.error !== undefined) throw answer.error as Error;
    token = answer.token ?? token;
    await touching;
  };
  const logIn = (username: string) =>
    visit(sessions, {}, async ctx => {
      await sessions.createSession({ username }, ctx);
    });
  const costs = new Map<string, Cost>();
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 10; n++) await logIn('bob');
    const run = async (name: string, operation: () => Promise<unknown>) => costs.set(name, await measure(operation));
    await run('log-in', async () => (token = (await logIn('ada')).token));
    await run('authenticated request', () => send());
    clock.advance(61);
    await run('the same, once a minute: "last seen" as well', () => send());
    await run('request that changes the session', () => send(session => session.data.visits++));
    await run('rotation', () => send(session => session.rotate()));
    await run('log-out', () => send(session => session.end()));
    await run('list 10 sessions of a user', () => sessions.listSessions('bob'));
    await run('end 10 sessions of a user', () => sessions.endSessions('bob'));
  }
  await sessions.close();
  return costs;
}

/** Compares a column of the page's table with what was counted: the commands exactly, the bytes to a tenth. */
function expectTable(column: number, costs: ReadonlyMap<string, Cost>): void {
  const rows = tableUnder(readDocument('docs/capacity.md'), 'What each operation costs');
  const wrong = rows.flatMap(row => {
    const [, commands, bytes] = /^(\d+), ([\d,]+) bytes$/.exec(row[column] ?? '') ?? [];
    const cost = costs.get(row[0] ?? '');
    const isRight =
      cost?.[0] === Number(commands) && Math.abs(cost[1] - Number(bytes?.replace(',', ''))) <= cost[1] / 10;
    return isRight ? [] : [{ row: row[0], written: row[column], counted: cost }];
  });
  expect({ rows: rows.length, wrong }).toEqual({ rows: costs.size, wrong: [] });
}

describeWith('redis', 'the costs on Redis', () => {
  test('are those of docs/capacity.md', async () => {
    const server = await startRedis();
    opened.push(() => server.stop());
    const client = createClient({ url: `redis://127.0.0.1:${server.port}` });
    await client.connect();
    opened.push(() => client.destroy());
    await withClient(server, async observer => {
      const spies = [jest.spyOn(client, 'get'), jest.spyOn(client, 'evalSha'), jest.spyOn(client, 'eval')];
      const bytesSoFar = async () => {
        const info = await observer.info('stats');
        const numbers = ['input', 'output'].map(name => new RegExp(`total_net_${name}_bytes:(\\d+)`).exec(info)?.[1]);
        return numbers.reduce((sum, number) => sum + Number(number), 0);
      };
      const bytesOf = async (operation: () => Promise<unknown>) => {
        const before = await bytesSoFar();
        await operation();
        return (await bytesSoFar()) - before;
      };
      const measure: Measure = async operation => {
        const idle = await bytesOf(() => Promise.resolve());
        for (const spy of spies) spy.mockClear();
        const bytes = (await bytesOf(operation)) - idle;
        return [spies.reduce((sum, { mock }) => sum + mock.calls.length, 0), bytes];
      };
      expectTable(1, await costsOf(new RedisBackend({ client }), measure));
    });
  });
});

describeWith('postgres', 'the costs on PostgreSQL', () => {
  test('are those of docs/capacity.md', async () => {
    const server = await startPostgres();
    opened.push(() => server.stop());
    const pool = new Pool({ host: '127.0.0.1', port: server.port, user: 'postgres', max: 1 });
    opened.push(() => pool.end());
    await migrate(pool);
    let stream: { bytesRead: number; bytesWritten: number } | undefined;
    pool.on('acquire', client => {
      ({ stream } = (client as unknown as { connection: { stream: typeof stream } }).connection);
    });
    // A spy that is told nothing calls through.
    const query = jest.spyOn(Client.prototype, 'query');
    opened.push(() => query.mockRestore());
    const measure: Measure = async operation => {
      const before = stream ? stream.bytesRead + stream.bytesWritten : 0;
      query.mockClear();
      await operation();
      return [query.mock.calls.length, (stream ? stream.bytesRead + stream.bytesWritten : 0) - before];
    };
    expectTable(2, await costsOf(new PostgresBackend({ pool }), measure));
  });
});

describeWith('mariadb', 'the costs on MariaDB', () => {
  test('are those of docs/capacity.md', async () => {
    const server = await startMariadb();
    opened.push(() => server.stop());
    const pool = createPool({ uri: mariadbUrl(server), connectionLimit: 1 });
    opened.push(() => pool.end());
    await new MysqlBackend({ pool }).migrate();
    const connection = await pool.getConnection();
    const { stream } = connection.connection as unknown as { stream: { bytesRead: number; bytesWritten: number } };
    connection.release();
    const commandsSoFar = async (): Promise<number> => {
      const [rows] = await pool.query("SHOW SESSION STATUS LIKE 'Questions'");
      return Number((rows as { Value: string }[])[0]?.Value);
    };
    const measure: Measure = async operation => {
      const [commands, bytes] = [await commandsSoFar(), stream.bytesRead + stream.bytesWritten];
      await operation();
      const moved = stream.bytesRead + stream.bytesWritten - bytes;
      // The question itself is one.
      return [(await commandsSoFar()) - commands - 1, moved];
    };
    expectTable(3, await costsOf(new MysqlBackend({ pool }), measure));
  });
});
