import 'reflect-metadata';

import { IsOptional, IsString } from 'class-validator';
import { InMemoryBackend, Principal, SessionCookie, SessionData } from 'routing-controllers-sessions';
import * as onKoa from 'routing-controllers-sessions/koa';

import { SECRET } from '../support/app.js';
import { contextFor } from '../support/in-process.js';

@SessionData
class Named {
  @Principal() username?: string;
}

class Inherited extends Named {}

@SessionData
class MaybeNamed {
  @IsOptional() @IsString() @Principal() username?: string;
}

@SessionData
class Nobody {
  @IsString() theme!: string;
}

class Unmarked {
  @IsString() @Principal() username!: string;
}

@onKoa.SessionData
class OnKoa {
  @IsString() theme!: string;
}

@onKoa.SessionData({ migrate: data => data })
class OnKoaCalled {
  @IsString() theme!: string;
}

function made<T extends object>(dataModel: new () => T, options: object = {}): SessionCookie<T> {
  return new SessionCookie({ secretKey: SECRET, dataModel, backend: new InMemoryBackend(), ...options });
}

const WHAT_TO_WRITE = /write @Principal\(\) on the property of Nobody that says whose session it is/;

describe('without @Principal', () => {
  test('maxSessionsPerPrincipal is refused, because it would limit nothing', () => {
    expect(() => made(Nobody, { maxSessionsPerPrincipal: 3 })).toThrow(/^maxSessionsPerPrincipal: 3: /);
    expect(() => made(Nobody, { maxSessionsPerPrincipal: 3 })).toThrow(WHAT_TO_WRITE);
    expect(() => made(Nobody, { maxSessionsPerPrincipal: Infinity })).not.toThrow();
    expect(() => made(Inherited, { maxSessionsPerPrincipal: 3 })).not.toThrow();
    expect(() => made(Nobody, { maxSessionsPerPrincipal: () => 3 })).toThrow(/^maxSessionsPerPrincipal: /);
    expect(() => made(Nobody, { whenFull: 'refuse' })).toThrow(/^whenFull: 'refuse': /);
    expect(() => made(Inherited, { maxSessionsPerPrincipal: () => 3, whenFull: 'refuse' })).not.toThrow();
  });

  test('listSessions and endSessions are refused, because they would find nothing', async () => {
    const sessions = made(Nobody);
    await expect(sessions.listSessions('ada')).rejects.toThrow(/^listSessions: /);
    await expect(sessions.listSessions('ada')).rejects.toThrow(WHAT_TO_WRITE);
    await expect(sessions.endSessions('ada')).rejects.toThrow(/^endSessions: /);
    await expect(made(Inherited).listSessions('ada')).resolves.toEqual([]);
    await expect(made(Inherited).endSessions('ada')).resolves.toBe(0);
  });
});

describe('a dataModel without @SessionData', () => {
  test('is refused, with what to write', () => {
    expect(() => made(Unmarked)).toThrow(
      'dataModel: the class Unmarked, which is not marked; write @SessionData above class Unmarked',
    );
  });

  test.each([[Named], [Inherited], [OnKoa], [OnKoaCalled]])('%p is marked, itself or above', model => {
    expect(() => made<object>(model)).not.toThrow();
  });
});

describe('a log-in whose principal is empty', () => {
  let emitWarning: jest.SpyInstance;
  beforeEach(() => {
    emitWarning = jest.spyOn(process, 'emitWarning').mockImplementation();
  });
  afterEach(() => {
    emitWarning.mockRestore();
  });

  test.each([[{}], [{ username: undefined }], [{ username: '' }]])('%j: one warning says so', async data => {
    const sessions = made(Named);
    await sessions.createSession(data, contextFor());
    await sessions.createSession(data, contextFor());
    expect(emitWarning.mock.calls).toEqual([
      [
        'A session of Named has no principal, because username is empty',
        { type: 'SessionPrincipalWarning', detail: expect.stringContaining('@IsOptional()') as string },
      ],
    ]);
  });

  test('no warning where there is one, where the model has none, or where it is optional', async () => {
    await made(Named).createSession({ username: 'ada' }, contextFor());
    await made(Nobody).createSession({ theme: 'dark' }, contextFor());
    await made(MaybeNamed).createSession({}, contextFor());
    expect(emitWarning).not.toHaveBeenCalled();
  });
});
