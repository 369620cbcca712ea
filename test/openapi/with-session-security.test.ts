import 'reflect-metadata';

import Ajv from 'ajv';
import { IsString } from 'class-validator';
import {
  Body,
  ContentType,
  Controller,
  createKoaServer,
  Delete,
  Get,
  getMetadataArgsStorage,
  JsonController,
  MetadataArgsStorage,
  Param,
  Post,
  type RoutingControllersOptions,
  useContainer,
} from 'routing-controllers';
import {
  CurrentSession,
  InMemoryBackend,
  Principal,
  RequireSession,
  type Session,
  SessionConfigurationError,
  SessionCookie,
  type SessionCookieOptions,
  SessionData,
  type SessionRecord,
} from 'routing-controllers-sessions';
import { withSessionSecurity } from 'routing-controllers-sessions/openapi';
import { signIn } from 'routing-controllers-sessions/testing';
import { OpenAPI, routingControllersToSpec } from 'routing-controllers-openapi';
import request from 'supertest';
import { Container, Service } from 'typedi';

import { validateDocument } from './validate-document.js';

@SessionData
class User {
  @IsString() @Principal() username!: string;
}

class AdminCookie extends SessionCookie<User> {}

const ok = { ok: true };

@Service()
@JsonController()
class PublicController {
  @Get('/open')
  open() {
    return ok;
  }

  @Get('/secure')
  @RequireSession()
  secure() {
    return ok;
  }

  @Get('/maybe')
  @RequireSession({ autoError: false })
  maybe() {
    return ok;
  }

  @Post('/maybe')
  @RequireSession({ autoError: false })
  change() {
    return ok;
  }

  @Get('/me')
  me(@CurrentSession() session: Session<User>) {
    return session.data;
  }

  @Get('/both')
  @RequireSession()
  @RequireSession({ cookie: AdminCookie })
  both() {
    return ok;
  }

  @Get('/with-token')
  @RequireSession({ autoError: false })
  @OpenAPI({
    security: [{ bearer: [] }],
    responses: {
      '403': { description: 'No token', content: { 'application/json': { schema: { type: 'object' } } } },
    },
  })
  withToken() {
    return ok;
  }
}

@Service()
@JsonController('/orders')
@RequireSession()
class OrdersController {
  @Get('/:id([0-9]+)')
  one(@Param('id') id: number) {
    return { id };
  }

  @Post()
  create(@Body() order: object) {
    return order;
  }

  @Delete('/:id/items/:item')
  @RequireSession({ maxAuthAge: 300 })
  remove() {
    return ok;
  }

  @Get('/list')
  @RequireSession({ autoError: false })
  list() {
    return [];
  }
}

@Service()
@JsonController('/archive')
@RequireSession({ autoError: false })
class ArchiveController extends OrdersController {
  @Get('/list')
  override list() {
    return [];
  }
}

@Service()
@Controller('/text')
@RequireSession()
class TextController {
  @Get('/plain')
  plain() {
    return 'plain';
  }

  @Post('/csv')
  @ContentType('text/csv')
  csv() {
    return 'a,b';
  }

  @Get('/json')
  @ContentType('application/json')
  json() {
    return ok;
  }
}

@Service()
@JsonController('/admin')
@RequireSession({ cookie: AdminCookie })
class AdminController {
  @Get('/page')
  @ContentType('text/html')
  page() {
    return '<p>page';
  }

  @Get('/:id')
  @RequireSession({ maxAuthAge: 60 })
  one() {
    return ok;
  }
}

const controllers = [PublicController, OrdersController, ArchiveController, TextController, AdminController];

/** Answers while `broken` is false. */
class BreakableBackend extends InMemoryBackend {
  broken = false;

  override read(id: string): Promise<SessionRecord | undefined> {
    return this.broken ? Promise.reject(new Error('connection refused')) : super.read(id);
  }
}

const secretKey = '0123456789abcdef0123456789abcdef';
const storage = getMetadataArgsStorage();

function sessionCookie(options: Partial<SessionCookieOptions<User>> = {}) {
  return new SessionCookie<User>({ secretKey, dataModel: User, backend: new InMemoryBackend(), ...options });
}

function adminCookie(options: Partial<SessionCookieOptions<User>> = {}) {
  const settings = { name: 'admin', schemeName: 'AdminCookie', unauthenticatedStatus: 401 as const };
  return new AdminCookie({ secretKey, dataModel: User, backend: new InMemoryBackend(), ...settings, ...options });
}

function register(user: SessionCookie<User>, admin: SessionCookie<User>) {
  Container.reset();
  useContainer(Container);
  Container.set(SessionCookie, user);
  Container.set(AdminCookie, admin);
  return [user, admin];
}

function documentOf(options: RoutingControllersOptions = {}) {
  return routingControllersToSpec(storage, options, { info: { title: 'Shop', version: '1.0.0' } });
}

type Document = ReturnType<typeof documentOf>;

interface Operation {
  security?: unknown;
  responses: Record<string, { headers?: object; content?: object }>;
}

type Verb = 'get' | 'post' | 'delete';

/** `GET /path` → what it requires. */
function securityOf({ paths }: Document): Record<string, unknown> {
  return Object.fromEntries(
    operationsOf({ paths } as Document).map(({ verb, path, operation }) => [
      `${verb.toUpperCase()} ${path}`,
      operation.security,
    ]),
  );
}

function operationsOf({ paths }: Document) {
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item as Record<string, Operation>).map(([verb, operation]) => ({
      path,
      verb: verb as Verb,
      operation,
    })),
  );
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}

const GUARDED = {
  'GET /open': undefined,
  'GET /secure': [{ SessionCookie: [] }],
  'GET /maybe': [{}, { SessionCookie: [] }],
  'POST /maybe': [{}, { SessionCookie: [] }],
  'GET /me': [{ SessionCookie: [] }],
  'GET /both': [{ SessionCookie: [], AdminCookie: [] }],
  'GET /with-token': [{ bearer: [] }, { SessionCookie: [], bearer: [] }],
  'GET /orders/{id}': [{ SessionCookie: [] }],
  'POST /orders': [{ SessionCookie: [] }],
  'DELETE /orders/{id}/items/{item}': [{ SessionCookie: [] }],
  'GET /orders/list': [{}, { SessionCookie: [] }],
  'GET /archive/list': [{}, { SessionCookie: [] }],
  'GET /text/plain': [{ SessionCookie: [] }],
  'POST /text/csv': [{ SessionCookie: [] }],
  'GET /text/json': [{ SessionCookie: [] }],
  'GET /admin/page': [{ AdminCookie: [] }],
  'GET /admin/{id}': [{ AdminCookie: [] }],
};

describe('withSessionSecurity', () => {
  describe('security', () => {
    test('stands on exactly the guarded routes, and is optional where autoError is false', () => {
      const cookies = register(sessionCookie(), adminCookie());
      expect(securityOf(withSessionSecurity(documentOf(), cookies))).toEqual(GUARDED);
    });

    test('is optional everywhere when the cookie service has autoError: false', () => {
      const cookies = register(sessionCookie({ autoError: false }), adminCookie());
      const security = securityOf(withSessionSecurity(documentOf(), cookies));
      expect(security['GET /secure']).toEqual([{}, { SessionCookie: [] }]);
      expect(security['GET /both']).toEqual([{ AdminCookie: [] }, { SessionCookie: [], AdminCookie: [] }]);
    });

    test.each(['/api', '/api/v1', '/:tenant/api', '/orders'])('is found below the routePrefix %s', routePrefix => {
      const cookies = register(sessionCookie(), adminCookie());
      const security = securityOf(withSessionSecurity(documentOf({ routePrefix }), cookies));
      const prefix = routePrefix.replace(':tenant', '{tenant}');
      const expected = Object.entries(GUARDED).map(([key, value]) => [key.replace(' ', ` ${prefix}`), value]);
      expect(security).toEqual(Object.fromEntries(expected));
    });

    test('leaves a route alone that is only named like a guarded one', () => {
      const cookies = register(sessionCookie(), adminCookie());
      const document = documentOf({ routePrefix: '/api' });
      document.paths['/secure'] = { get: { responses: { '200': { description: 'of a plain router' } } } };
      const secured = withSessionSecurity(document, cookies);
      expect(secured.paths['/secure']).toEqual(document.paths['/secure']);
    });

    test("adds to the document's own requirement for all routes", () => {
      const cookies = register(sessionCookie(), adminCookie());
      const secured = withSessionSecurity({ ...documentOf(), security: [{ key: [] }, { oauth: ['read'] }] }, cookies);
      expect(securityOf(secured)).toMatchObject({
        'GET /open': undefined,
        'GET /secure': [
          { SessionCookie: [], key: [] },
          { SessionCookie: [], oauth: ['read'] },
        ],
      });
    });

    test('of an inherited route are those of this controller, if the document has the route', () => {
      const cookies = register(sessionCookie(), adminCookie());
      const document = documentOf();
      document.paths['/archive'] = { post: { responses: { '200': { description: 'inherited' } } } };
      expect(securityOf(withSessionSecurity(document, cookies))['POST /archive']).toEqual([{}, { SessionCookie: [] }]);
    });

    test('of a document with fewer routes are those of its remaining routes', () => {
      const cookies = register(sessionCookie(), adminCookie());
      const document = documentOf({ routePrefix: '/api' });
      document.paths = { '/api/secure': document.paths['/api/secure'] };
      expect(securityOf(withSessionSecurity(document, cookies))).toEqual({
        'GET /api/secure': [{ SessionCookie: [] }],
      });
    });
  });

  describe('schemes', () => {
    test("have the cookies' names as they are sent", async () => {
      const cookies = register(sessionCookie({ name: 'sid' }), adminCookie({ secure: true }));
      const { components } = withSessionSecurity(documentOf(), cookies);
      expect(components?.securitySchemes).toEqual({
        SessionCookie: { type: 'apiKey', in: 'cookie', name: 'sid' },
        AdminCookie: { type: 'apiKey', in: 'cookie', name: '__Host-admin' },
      });
      const [user] = cookies;
      expect(await signIn(user!, { username: 'ada' })).toMatch(/(^|; )sid=/);
    });

    test('with an invalid key get a valid one, and keep the name as the description', async () => {
      const cookies = register(sessionCookie({ schemeName: 'Session (users) ✓' }), adminCookie({ schemeName: '§§' }));
      const secured = withSessionSecurity(documentOf(), cookies);
      expect(secured.components?.securitySchemes).toEqual({
        Session_users_: { type: 'apiKey', in: 'cookie', name: 'session', description: 'Session (users) ✓' },
        SessionCookie: { type: 'apiKey', in: 'cookie', name: 'admin', description: '§§' },
      });
      expect(securityOf(secured)['GET /both']).toEqual([{ Session_users_: [], SessionCookie: [] }]);
      await validateDocument(secured);
    });

    test("of two cookies under one name are distinct, from each other and from the document's own", () => {
      const cookies = register(sessionCookie(), adminCookie({ schemeName: 'SessionCookie' }));
      const own = { type: 'http', scheme: 'basic' } as const;
      const document = { ...documentOf(), components: { securitySchemes: { SessionCookie: own } } };
      const secured = withSessionSecurity(document, cookies);
      expect(secured.components.securitySchemes).toEqual({
        SessionCookie: own,
        SessionCookie_2: { type: 'apiKey', in: 'cookie', name: 'session' },
        SessionCookie_3: { type: 'apiKey', in: 'cookie', name: 'admin' },
      });
      expect(securityOf(secured as unknown as Document)['GET /both']).toEqual([
        { SessionCookie_2: [], SessionCookie_3: [] },
      ]);
    });

    test('that the document describes already are used as they are', () => {
      const cookies = register(sessionCookie(), adminCookie());
      const own = { type: 'apiKey', in: 'cookie', name: 'session', description: 'Log in at /login' } as const;
      const document = { ...documentOf(), components: { securitySchemes: { SessionCookie: own } } };
      expect(withSessionSecurity(document, cookies).components.securitySchemes.SessionCookie).toBe(own);
    });

    test('are the same for one service, an array, a class, and an identifier in the container', () => {
      const [user, admin] = register(sessionCookie(), adminCookie());
      const expected = withSessionSecurity(documentOf(), [user!, admin!]);
      expect(withSessionSecurity(documentOf(), user!)).toEqual(expected);
      expect(withSessionSecurity(documentOf(), SessionCookie, storage)).toEqual(expected);
      expect(withSessionSecurity(documentOf(), [SessionCookie, AdminCookie])).toEqual(expected);
    });

    test('are found by class among the given services if there is no container', () => {
      Container.reset();
      const secured = withSessionSecurity(documentOf(), [adminCookie(), sessionCookie()]);
      expect(securityOf(secured)).toEqual(GUARDED);
    });
  });

  describe('document', () => {
    test('is valid OpenAPI', async () => {
      const cookies = register(sessionCookie(), adminCookie());
      const document = {
        ...documentOf(),
        components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
      };
      await validateDocument(withSessionSecurity(document, cookies));
    });

    test('that was handed over is not changed', () => {
      const cookies = register(sessionCookie(), adminCookie());
      const document = deepFreeze(documentOf());
      const secured = withSessionSecurity(document, cookies);
      expect(secured).not.toBe(document);
      expect(document).toEqual(documentOf());
    });

    test('are the same when it runs twice', () => {
      const cookies = register(sessionCookie(), adminCookie());
      const once = withSessionSecurity(documentOf(), cookies);
      expect(withSessionSecurity(once, cookies)).toEqual(once);
    });

    test("keeps the application's own description of a 403, and its own component with an error's name", async () => {
      const cookies = register(sessionCookie(), adminCookie());
      const own = { type: 'object' as const, description: 'ours' };
      const shared = { $ref: '#/components/responses/Forbidden' };
      const document = {
        ...documentOf(),
        components: {
          schemas: { SessionRequiredError: own },
          responses: { Forbidden: { description: 'Forbidden' } },
          securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
        },
      };
      document.paths['/secure'].get.responses['403'] = shared;
      document.paths['/me'].get.responses['403'] = {
        description: 'Not yours',
        content: { 'application/json': { schema: own } },
      };
      const secured = withSessionSecurity(document, cookies);
      expect(secured.components.schemas.SessionRequiredError).toBe(own);
      expect(secured.paths['/secure'].get.responses['403']).toBe(shared);
      expect(secured.paths['/me'].get.responses['403']).toEqual({
        description: 'Not yours',
        content: {
          'application/json': { schema: { anyOf: [own, { $ref: '#/components/schemas/SessionRequiredError_2' }] } },
        },
      });
      await validateDocument(secured);
    });
  });

  describe('responses', () => {
    const app = (development: boolean) => {
      const backend = new BreakableBackend();
      // Authenticated long ago: too long for any maxAuthAge here.
      let now = Date.now();
      const clock = () => now;
      const [user, admin] = register(sessionCookie({ backend, clock }), adminCookie({ backend, clock }));
      const document = withSessionSecurity(documentOf(), [user!, admin!]);
      const server = createKoaServer({ controllers, development }).callback();
      const signedIn = async () => {
        const headers = [await signIn(user!, { username: 'ada' }), await signIn(admin!, { username: 'ada' })];
        now += 3_600_000;
        return headers;
      };
      return { backend, document, server, signedIn };
    };

    test.each([
      ['production', false],
      ['development', true],
    ])('are those that leave, status, type and body, in %s', async (_name, development) => {
      const { backend, document, server, signedIn } = app(development);
      const ajv = new Ajv({ strict: false }).addSchema(document, 'document');
      const cookies = await signedIn();
      const cookie = cookies.join('; ');
      const seen = new Set<string>();

      for (const { path, verb, operation } of operationsOf(document)) {
        if (!operation.security) continue;
        const url = path.replace(/\{\w+\}/g, '7');
        const send = () => request(server)[verb](url);
        const answers = [
          await send(),
          await send().set('Cookie', cookies[0]!),
          await send().set('Cookie', cookies[1]!),
          await send().set('Cookie', cookie),
          await send().set('Cookie', cookie).set('Origin', 'https://elsewhere.example'),
        ];
        backend.broken = true;
        answers.push(await send().set('Cookie', cookie));
        backend.broken = false;

        for (const { status, type, headers, body, text } of answers) {
          if (status === 200) continue;
          const place = `${verb} ${path} ${status}`;
          const documented = operation.responses[String(status)];
          expect([place, Object.keys(documented?.content ?? {})]).toEqual([place, [type]]);
          const pointer = ['paths', path, verb, 'responses', String(status), 'content', type, 'schema'];
          const escaped = pointer.map(key => encodeURIComponent(key.replaceAll('~', '~0').replaceAll('/', '~1')));
          const validate = ajv.getSchema(`document#/${escaped.join('/')}`)!;
          const valid = validate(type === 'application/json' ? body : text);
          expect([place, valid, validate.errors]).toEqual([place, true, null]);
          for (const header of Object.keys(documented?.headers ?? {}))
            expect(headers[header.toLowerCase()]).toMatch(/^\d+$/);
          seen.add(place);
        }
      }

      const documented = operationsOf(document).flatMap(({ path, verb, operation }) =>
        Object.keys(operation.responses)
          .filter(status => status !== '200')
          .map(status => `${verb} ${path} ${status}`),
      );
      // The application's own 403, which it never sends here.
      seen.add('get /with-token 403');
      expect([...seen].sort()).toEqual(documented.sort());
    });

    test('of a guard are only those that it can give', () => {
      const cookies = register(sessionCookie(), adminCookie());
      const { paths } = withSessionSecurity(documentOf(), cookies);
      const codes = (path: string, verb: string, status: string) => {
        const { schema } = paths[path][verb].responses[status].content['application/json'];
        const alternatives = (schema.anyOf ?? [schema]) as { $ref: string }[];
        return alternatives.map(({ $ref }) => $ref.split('/').pop());
      };
      expect(paths['/open'].get.responses).toEqual(documentOf().paths['/open'].get.responses);
      expect(codes('/secure', 'get', '403')).toEqual(['SessionRequiredError']);
      expect(codes('/maybe', 'post', '403')).toEqual(['CrossOriginRequestError']);
      expect(paths['/maybe'].get.responses).not.toHaveProperty('403');
      expect(codes('/orders/{id}/items/{item}', 'delete', '403')).toEqual([
        'SessionRequiredError',
        'SessionNotFreshError',
        'CrossOriginRequestError',
      ]);
      expect(codes('/admin/{id}', 'get', '401')).toEqual(['SessionRequiredError']);
      expect(codes('/admin/{id}', 'get', '403')).toEqual(['SessionNotFreshError']);
      expect(codes('/secure', 'get', '503')).toEqual(['SessionUnavailableError']);
      expect(Object.keys(paths['/secure'].get.responses['503'].headers)).toEqual(['Retry-After']);
    });
  });

  describe('refuses', () => {
    test('reports a route whose cookie service is not registered', () => {
      Container.reset();
      expect(() => withSessionSecurity(documentOf(), sessionCookie())).toThrow(SessionConfigurationError);
      expect(() => withSessionSecurity(documentOf(), sessionCookie())).toThrow(
        'cookies: PublicController.both requires AdminCookie',
      );
    });

    test.each([
      ['a class that the container does not know', AdminCookie, 'cookies: AdminCookie is neither'],
      ['something else', 'SessionCookie', "cookies: 'SessionCookie' is neither"],
      ['nothing', undefined, 'cookies: undefined is neither'],
    ])('%s in place of a cookie service', (_name, cookies, message) => {
      Container.reset();
      expect(() => withSessionSecurity(documentOf(), cookies as never)).toThrow(message);
    });

    test('a document of another application', () => {
      const cookies = register(sessionCookie(), adminCookie());
      const document = { openapi: '3.0.0', paths: { '/else': { get: { responses: {} } } } };
      expect(() => withSessionSecurity(document, cookies)).toThrow('document: it has none of the routes of storage');
    });
  });

  test('needs no backend', () => {
    const cookies = register(
      new SessionCookie({ secretKey, dataModel: User }),
      new AdminCookie({ secretKey, dataModel: User, schemeName: 'AdminCookie' }),
    );
    expect(securityOf(withSessionSecurity(documentOf(), cookies))).toEqual(GUARDED);
  });

  test('takes a storage of its own, in which it finds no route of another', () => {
    const cookies = register(sessionCookie(), adminCookie());
    const empty = new MetadataArgsStorage();
    expect(securityOf(withSessionSecurity(documentOf(), cookies, empty))['GET /secure']).toBeUndefined();
  });
});
