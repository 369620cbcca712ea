import 'reflect-metadata';

import { Get, JsonController } from 'routing-controllers';
import {
  CurrentSession,
  RequireSession,
  type Session,
  SessionConfigurationError,
  SessionData,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import { IsString } from 'class-validator';

import { startApp } from '../support/app.js';
import { ask } from '../support/life.js';
import { contextFor } from '../support/in-process.js';
import { Clock } from '../support/clock.js';

@SessionData
class User {
  @IsString() username!: string;
}

const seen = ({ lastSeenAt }: Session<User>): { seen: number } => ({ seen: lastSeenAt.getTime() });

@JsonController()
@RequireSession({ touch: false })
class Polls {
  @Get('/poll')
  poll(@CurrentSession() session: Session<User>) {
    return seen(session);
  }

  @Get('/use')
  @RequireSession({ touch: true })
  use(@CurrentSession() session: Session<User>) {
    return seen(session);
  }

  @Get('/default')
  @RequireSession({ maxAuthAge: 3_600 })
  likeItsClass(@CurrentSession() session: Session<User>) {
    return seen(session);
  }
}

describe('@RequireSession({ touch: false })', () => {
  const start = async () => {
    const clock = new Clock();
    const options = { clock: clock.now, idleTimeout: 100, touchInterval: 10 };
    const app = await startApp({ controllers: [Polls], dataModel: User, cookie: options });
    return { app, clock, cookie: await signIn(app.sessions, { username: 'ada' }) };
  };

  test('a poll does not keep a session alive, in steps around its idle timeout', async () => {
    const { app, clock, cookie } = await start();
    for (let second = 0; second < 99; second += 3) {
      expect((await ask(app, '/poll', { cookie })).status).toBe(200);
      clock.advance(3);
    }
    clock.advance(0.9);
    expect((await ask(app, '/poll', { cookie })).status).toBe(200);
    clock.advance(0.1);
    expect((await ask(app, '/poll', { cookie })).status).toBe(403);
  });

  test('what its method says counts, and what the method leaves out is its class’s', async () => {
    const { app, clock, cookie } = await start();
    const began = clock.now();
    clock.advance(50);
    expect((await ask(app, '/default', { cookie })).body).toEqual({ seen: began });
    expect((await ask(app, '/use', { cookie })).body).toEqual({ seen: clock.now() });
    clock.advance(99);
    expect((await ask(app, '/poll', { cookie })).status).toBe(200);
  });

  test('a guard within a guard counts if it says so; asking for the session again does not', async () => {
    const { app, clock, cookie } = await start();
    const token = /session=([^;]*)/.exec(cookie.split('; ').find(pair => pair.startsWith('session=')) ?? '')?.[1];
    const { sessions } = app;
    const began = clock.now();
    const seenBy = async (...touches: (boolean | undefined)[]): Promise<number | undefined> => {
      const ctx = contextFor({ method: 'GET', token: token ?? '' });
      let result: number | undefined;
      const inside = async (): Promise<void> => {
        result = (await sessions.getSession(ctx))?.lastSeenAt.getTime();
      };
      const run = touches.reduceRight<() => Promise<unknown>>(
        (next, touch) => () =>
          Promise.resolve(sessions.requireSession(touch === undefined ? {} : { touch })(ctx, next)),
        inside,
      );
      await run();
      return result;
    };
    clock.advance(20);
    expect(await seenBy(false)).toBe(began);
    expect(await seenBy(false, undefined)).toBe(began);
    expect(await seenBy(false, false)).toBe(began);
    expect(await seenBy(false, true)).toBe(clock.now());
    clock.advance(20);
    expect(await seenBy(true, false)).toBe(clock.now());
    clock.advance(20);
    expect(await seenBy()).toBe(clock.now());
  });

  test('is refused as anything but true and false', () => {
    expect(() => RequireSession({ touch: 0 as never })).toThrow(SessionConfigurationError);
  });
});
