import 'reflect-metadata';

import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { IsString } from 'class-validator';
import { InMemoryBackend, SessionCookie, SessionData } from 'routing-controllers-sessions';

import { SECRET } from '../support/app.js';
import { visit } from '../support/in-process.js';

@SessionData
class UserSession {
  @IsString() username!: string;
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as (options?: { type: 'minor' }) => void;

/** Bytes that a full collection has to look at. */
function oldSpace(): number {
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === 'old_space')?.space_used_size ?? NaN;
}

test('a minor collection frees the garbage of a log-in', async () => {
  const backend = new InMemoryBackend({ maxSessions: 1 });
  const sessions = new SessionCookie({ secretKey: SECRET, dataModel: UserSession, backend, sweepInterval: 0 });
  const logIn = async (times: number) => {
    for (let time = 0; time < times; time++) {
      await visit(sessions, {}, async ctx => {
        await sessions.createSession({ username: 'ada' }, ctx);
      });
      if (time % 20 === 0) collect({ type: 'minor' });
    }
  };
  // Code that is compiled and memories that fill up are not what is looked for.
  await logIn(2_000);
  collect();
  const before = oldSpace();
  await logIn(500);
  // A request that is kept, with its context and all that hangs on it, takes 3,500.
  expect((oldSpace() - before) / 500).toBeLessThan(2_000);
});
