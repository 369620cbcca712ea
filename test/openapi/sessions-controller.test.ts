import 'reflect-metadata';

import Ajv from 'ajv';
import { IsString } from 'class-validator';
import { Get, getMetadataArgsStorage, JsonController } from 'routing-controllers';
import { routingControllersToSpec } from 'routing-controllers-openapi';
import { Principal, RequireSession, SessionData, SessionsController } from 'routing-controllers-sessions';
import { withSessionSecurity } from 'routing-controllers-sessions/openapi';
import { signIn } from 'routing-controllers-sessions/testing';

import { startApp } from '../support/app.js';
import { ask } from '../support/life.js';
import { RecordingBackend } from '../support/recording-backend.js';
import { validateDocument } from './validate-document.js';

@SessionData
class User {
  @IsString() @Principal() username!: string;
}

@JsonController('/account/sessions')
class MySessions extends SessionsController {}

@JsonController('/partly')
class PartlyMine extends SessionsController {
  @Get('/everything')
  @RequireSession()
  override list() {
    return [];
  }
}

const controllers = [MySessions, PartlyMine];
const PATH = '/account/sessions';

interface Operation {
  parameters?: object[];
  security?: object[];
  responses: Record<string, { content?: Record<string, { schema?: object }> }>;
}

class BreakableBackend extends RecordingBackend {
  broken = false;

  override read(...args: Parameters<RecordingBackend['read']>): ReturnType<RecordingBackend['read']> {
    if (this.broken) throw new Error('connection refused');
    return super.read(...args);
  }
}

async function start() {
  const backend = new BreakableBackend();
  const app = await startApp({ controllers, dataModel: User, backend });
  app.sessions.on('unavailable', () => undefined);
  const info = { title: 'Accounts', version: '1.0.0' };
  const document = withSessionSecurity(routingControllersToSpec(getMetadataArgsStorage(), {}, { info }), app.sessions);
  // The controllers of the tests' own kit are no part of this application.
  const own = Object.entries(document.paths as object).filter(([path]) => /^\/(account|partly)/.test(path));
  document.paths = Object.fromEntries(own);
  return { app, backend, document, paths: document.paths as Record<string, Record<string, Operation>> };
}

describe('the description of a SessionsController', () => {
  test('has its four routes, each with its security, and the id in the path', async () => {
    const { document, paths } = await start();
    await validateDocument(document);
    const own = Object.entries(paths).filter(([path]) => path.startsWith(PATH));
    const operations = own.flatMap(([path, item]) => Object.entries(item).map(([verb, one]) => ({ path, verb, one })));
    expect(operations.map(({ path, verb }) => `${verb} ${path}`).sort()).toEqual([
      `delete ${PATH}`,
      `delete ${PATH}/{id}`,
      `get ${PATH}`,
      `get ${PATH}/current`,
    ]);
    expect(operations.map(({ one }) => one.security)).toEqual(Array(4).fill([{ SessionCookie: [] }]));
    expect(paths[`${PATH}/{id}`]!['delete']!.parameters).toEqual([
      { in: 'path', name: 'id', required: true, schema: expect.objectContaining({ type: 'string' }) },
    ]);
  });

  test('has the answers that leave, and no others', async () => {
    const { app, backend, document, paths } = await start();
    const ajv = new Ajv({ strict: false, formats: { 'date-time': true } }).addSchema(document, 'document');
    const seen = new Set<string>();
    const check = async (verb: string, place: string, cookie?: string, headers: Record<string, string> = {}) => {
      const method = verb.toUpperCase();
      const answer = await ask(app, place, { method, ...(cookie !== undefined && { cookie }), headers });
      const path = place.replace(/\/(?!current)[^/]+$/, (last, at: number) => (at < PATH.length ? last : '/{id}'));
      const { status } = answer;
      const { content } = paths[path]![verb]!.responses[String(status)] ?? {};
      const pointer = ['paths', path, verb, 'responses', String(status), 'content', 'application/json', 'schema'];
      const escaped = pointer.map(key => encodeURIComponent(key.replaceAll('~', '~0').replaceAll('/', '~1')));
      if (status === 204) expect([content, answer.text]).toEqual([undefined, '']);
      else {
        const validate = ajv.getSchema(`document#/${escaped.join('/')}`)!;
        expect([place, status, validate(JSON.parse(answer.text)), validate.errors]).toEqual([
          place,
          status,
          true,
          null,
        ]);
      }
      seen.add(`${verb} ${path} ${status}`);
    };
    const one = await signIn(app.sessions, { username: 'ada' });
    const id = /=([^.;]+)\./.exec(one)![1]!;
    const routes = [
      ['delete', `${PATH}/nobodys`],
      ['delete', PATH],
      ['get', `${PATH}/current`],
      ['get', PATH],
    ] as const;
    for (const [verb, place] of routes) {
      await check(verb, place, one);
      await check(verb, place);
      await check(verb, place, one, { 'sec-fetch-site': 'cross-site' });
      backend.broken = true;
      await check(verb, place, one);
      backend.broken = false;
    }
    const other = await signIn(app.sessions, { username: 'ada' });
    await check('delete', `${PATH}/${/=([^.;]+)\./.exec(other)![1]!}`, one);
    app.clock.advance(301);
    await check('delete', PATH, one);
    await check('delete', `${PATH}/${id}`, one);
    const documented = Object.entries(paths)
      .filter(([path]) => path.startsWith(PATH))
      .flatMap(([path, item]) =>
        Object.entries(item).flatMap(([verb, { responses }]) =>
          Object.keys(responses).map(status => `${verb} ${path} ${status}`),
        ),
      );
    expect([...seen].sort()).toEqual(documented.sort());
    const { 403: refusal } = paths[PATH]!['delete']!.responses;
    expect(JSON.stringify(refusal)).toContain('SessionNotFreshError');
  });

  test('of one with an action of its own has that one in its place', async () => {
    const { paths } = await start();
    const own = Object.keys(paths).filter(path => path.startsWith('/partly'));
    expect(own.sort()).toEqual(['/partly', '/partly/current', '/partly/everything', '/partly/{id}']);
    expect(Object.keys(paths['/partly']!)).toEqual(['delete']);
    expect(paths['/partly/everything']!['get']!.responses['200']!.content).toEqual({ 'application/json': {} });
  });
});

describe('an application without a SessionsController', () => {
  test('has no routes of one, and can be described', () => {
    const { target } = getMetadataArgsStorage().controllers.find(controller => controller.target === MySessions)!;
    expect(target).toBe(MySessions);
    expect(getMetadataArgsStorage().actions.filter(action => action.target === SessionsController)).toEqual([]);
  });

  test('that empties the storage has none left, and gets those of a controller that comes later', () => {
    const storage = getMetadataArgsStorage();
    const { controllers: all, actions, uses, responseHandlers, params } = storage;
    try {
      storage.reset();
      expect(storage.actions).toEqual([]);
      JsonController('/later')(MySessions);
      expect(storage.actions.map(({ target, method }) => [target, method])).toEqual(
        ['list', 'current', 'endOne', 'endOthers'].map(method => [MySessions, method]),
      );
    } finally {
      Object.assign(storage, { controllers: all, actions, uses, responseHandlers, params });
    }
  });
});
