import 'reflect-metadata';

import { IsInt, IsOptional, IsString } from 'class-validator';
import { Get, JsonController } from 'routing-controllers';
import {
  CurrentSession,
  Principal,
  type Session,
  SessionConfigurationError,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { startApp } from '../support/app.js';

@SessionData
class Named {
  @IsString() @Principal() username!: string;
}

@SessionData
class Numbered {
  @IsInt() @Principal() id!: number;
}

@SessionData
class Nameless {
  @IsString() theme!: string;
}

@SessionData
class Maybe {
  @IsOptional() @IsString() @Principal() username?: string;
}

@SessionData
class Admin extends Named {
  @IsInt() level!: number;
}

@JsonController()
class Whose {
  @Get('/') whose(@CurrentSession() session: Session<object>) {
    return { principal: session.principal ?? null };
  }
}

describe('@Principal', () => {
  test.each<[string, new () => object, object, string | null]>([
    ['a string', Named, { username: 'ada' }, 'ada'],
    ['a number, as text', Numbered, { id: 42 }, '42'],
    ['zero, as text', Numbered, { id: 0 }, '0'],
    ['nobody in a model without it', Nameless, { theme: 'dark' }, null],
    ['nobody where the property is empty', Named, { username: '' }, null],
    ['nobody where the property is left out', Maybe, {}, null],
    ['inherited from the model above', Admin, { username: 'grace', level: 1 }, 'grace'],
    ['of arbitrary text, byte for byte', Named, { username: '__proto__\u0000é' }, '__proto__\u0000é'],
  ])('is %s', async (_what, dataModel, data, principal) => {
    const app = await startApp({ controllers: [Whose], dataModel });
    await app
      .client(await signIn(app.sessions, data))
      .get('/')
      .expect(200, { principal });
    if (principal !== null) expect(await app.sessions.listSessions(principal)).toHaveLength(1);
  });

  test('makes the sessions of a user listable and revocable, and of no other', async () => {
    const app = await startApp({ controllers: [Whose], dataModel: Named });
    const [first, , other] = [
      await signIn(app.sessions, { username: 'ada' }),
      await signIn(app.sessions, { username: 'ada' }),
      await signIn(app.sessions, { username: 'grace' }),
    ];
    expect(await app.sessions.endSessions('ada')).toBe(2);
    await app.client(first).get('/').expect(403);
    await app.client(other).get('/').expect(200);
  });

  test('a list marks the session of the current request', async () => {
    @JsonController('/mine')
    class Mine {
      constructor(private readonly sessions: SessionCookie<Named>) {}

      @Get('/') async list(@CurrentSession() session: Session<Named>) {
        const all = await this.sessions.listSessions(session.principal!);
        return all.map(({ id, current }) => ({ current, isThis: id === session.id }));
      }
    }
    const app = await startApp({ controllers: [Mine], dataModel: Named });
    const cookies = await signIn(app.sessions, { username: 'ada' });
    app.clock.advance(1);
    await signIn(app.sessions, { username: 'ada' });
    await app
      .client(cookies)
      .get('/mine')
      .expect(200, [
        { current: false, isThis: false },
        { current: true, isThis: true },
      ]);
  });
});

describe('@Principal in a place where it cannot stand', () => {
  const Loose = Principal as unknown as (...args: unknown[]) => (...args: unknown[]) => void;
  class Model {
    get computed(): string {
      return 'x';
    }
    method(): void {
      // Only decorated.
    }
  }
  const descriptorOf = (member: string) => Object.getOwnPropertyDescriptor(Model.prototype, member);

  test.each<[string, () => unknown, RegExp]>([
    ['a class', () => Loose()(Model), /@Principal on Model.*instance member/],
    ['a static property', () => Loose()(Model, 'username'), /@Principal.*static.*instance/],
    ['a property named by a symbol', () => Loose()(Model.prototype, Symbol('username')), /@Principal.*symbol/],
    [
      'a method',
      () => Loose()(Model.prototype, 'method', descriptorOf('method')),
      /@Principal on Model\.method.*property/,
    ],
    [
      'a getter',
      () => Loose()(Model.prototype, 'computed', descriptorOf('computed')),
      /@Principal on Model\.computed.*stored/,
    ],
    ['a parameter', () => Loose()(Model.prototype, 'method', 0), /@Principal on Model\.method.*property/],
    ['a property without the parentheses', () => Loose(Model.prototype, 'username'), /@Principal\(\).*parentheses/],
  ])('%s: refused at once, naming the decorator and the way out', (_place, decorate, message) => {
    expect(decorate).toThrow(SessionConfigurationError);
    expect(decorate).toThrow(message);
  });

  test('refuses a second property of one model', () => {
    expect(() => {
      class Two {
        @Principal() username!: string;
        @Principal() email!: string;
      }
      return Two;
    }).toThrow(/Two: @Principal on username and on email.*leave it on one/);
  });

  test('a model may name another property than the model it extends', async () => {
    class ByEmail extends Named {
      @IsString() @Principal() email!: string;
    }
    const app = await startApp({ controllers: [Whose], dataModel: ByEmail });
    const cookies = await signIn(app.sessions, { username: 'ada', email: 'ada@example.org' });
    await app.client(cookies).get('/').expect(200, { principal: 'ada@example.org' });
  });
});
