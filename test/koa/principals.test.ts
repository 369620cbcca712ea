import 'reflect-metadata';

import { IsInt } from 'class-validator';
import {
  InMemoryBackend,
  InvalidSessionDataError,
  Principal,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

@SessionData
class Member {
  @IsInt() @Principal() id!: number;
}

const cookie = () =>
  new SessionCookie({ secretKey: 'k'.repeat(32), dataModel: Member, backend: new InMemoryBackend() });

describe('A principal that is a number', () => {
  test('is listed and ended by the number and by its text', async () => {
    const sessions = cookie();
    for (let n = 0; n < 3; n++) await signIn(sessions, { id: 42 });
    expect(await sessions.listSessions(42 as unknown as string)).toHaveLength(3);
    expect(await sessions.listSessions('42')).toHaveLength(3);
    expect(await sessions.endSessions(42 as unknown as string)).toBe(3);
    expect(await sessions.listSessions('42')).toEqual([]);
  });
});

describe('Values that cannot be a principal', () => {
  test.each([[{}], [true], [NaN], ['x'.repeat(1025)]])('%j is refused by listSessions and endSessions', async given => {
    const sessions = cookie();
    await expect(sessions.listSessions(given as string)).rejects.toThrow(InvalidSessionDataError);
    await expect(sessions.endSessions(given as string)).rejects.toThrow(InvalidSessionDataError);
  });

  test.each([[''], [undefined], [null]])('%j has no sessions', async given => {
    const sessions = cookie();
    expect(await sessions.listSessions(given as string)).toEqual([]);
    expect(await sessions.endSessions(given as string)).toBe(0);
  });
});
