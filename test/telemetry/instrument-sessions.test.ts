import 'reflect-metadata';

import { hasSubscribers } from 'node:diagnostics_channel';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { context, metrics, type Span, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { InMemoryBackend, SessionCookie } from 'routing-controllers-sessions';
import { instrumentSessions } from 'routing-controllers-sessions/telemetry';

import { VERSION } from '../../src/telemetry/version.js';
import { SECRET } from '../support/app.js';
import { HeardMessages } from '../support/heard-messages.js';
import { contextFor } from '../support/in-process.js';
import { ask, cookieOf, type Life, logIn, startLife, UserSession } from '../support/life.js';

const POST = { method: 'POST' };

/** OpenTelemetry's SDK, with exporters that keep what they get. */
class Telemetry {
  readonly #metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  readonly #reader = new PeriodicExportingMetricReader({ exporter: this.#metrics, exportIntervalMillis: 3_600_000 });
  readonly #spans = new InMemorySpanExporter();
  readonly meters = new MeterProvider({ readers: [this.#reader] });
  readonly tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(this.#spans)] });
  readonly meter = this.meters.getMeter('test');
  readonly tracer = this.tracers.getTracer('test');

  /** All that was exported of metrics, as the exporter got it. */
  async exported() {
    this.#metrics.reset();
    await this.meters.forceFlush();
    return this.#metrics.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics);
  }

  /** The points of a metric, each as its attributes, in their order, and its value; of a histogram, its count. */
  async points(name: string): Promise<Record<string, number>> {
    const exported = (await this.exported()).flatMap(scope => scope.metrics);
    const points = exported.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? [];
    return Object.fromEntries(
      points.map(({ attributes, value }) => {
        const { 'session.cookie.name': _, ...others } = attributes;
        return [Object.values(others).join(' '), typeof value === 'number' ? value : value.count];
      }),
    );
  }

  get spans() {
    return this.#spans.getFinishedSpans();
  }

  async stop(): Promise<void> {
    await this.meters.shutdown();
    await this.tracers.shutdown();
  }
}

let telemetry: Telemetry;
const stops: (() => void)[] = [];

beforeAll(() => context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable()));
afterAll(() => context.disable());
beforeEach(() => {
  telemetry = new Telemetry();
});
afterEach(async () => {
  for (const stop of stops.splice(0)) stop();
  await telemetry.stop();
});

function instrument(
  sessions: SessionCookie<UserSession>,
  options: Parameters<typeof instrumentSessions>[1] = {},
): () => void {
  const { meter, tracer } = telemetry;
  const stop = instrumentSessions(sessions, { meter, tracer, ...options });
  stops.push(stop);
  return stop;
}

/** Log-ins, requests, refusals, ends and failures; of these ids and principals. */
async function liveThrough(life: Life): Promise<string[]> {
  const names = ['ada', 'grace'];
  const first = await logIn(life, 'ada');
  await ask(life, '/guarded/visit', { ...POST, cookie: first.cookie });
  const rotated = cookieOf(await ask(life, '/guarded/rotate', { ...POST, cookie: first.cookie }));
  await ask(life, '/guarded/who', { cookie: first.cookie });
  const second = await logIn(life, 'ada', rotated);
  await ask(life, '/guarded/logout', { ...POST, cookie: second.cookie });
  await ask(life, '/guarded/who', { cookie: 'session=x' });
  const third = await logIn(life, 'grace');
  await life.sessions.endSessions('grace');
  const fourth = await logIn(life, 'grace');
  life.backend.failing.add('read');
  await ask(life, '/guarded/who', { cookie: fourth.cookie });
  life.backend.failing.clear();
  life.clock.advance(7 * 86_400);
  await ask(life, '/guarded/who', { cookie: fourth.cookie });
  return [...names, ...[first, second, third, fourth].map(({ id }) => id)];
}

describe('The metrics of instrumentSessions', () => {
  test('measure the backend by operation and outcome, and count look-ups, events and rejections', async () => {
    const life = await startLife();
    instrument(life.sessions);
    await liveThrough(life);
    expect(await telemetry.points('session.backend.operation.duration')).toEqual({
      'listByPrincipal done': 4,
      'create done': 4,
      'read done': 6,
      'read unavailable': 1,
      'update done': 2,
      'delete done': 2,
      'deleteByPrincipal done': 1,
    });
    expect(await telemetry.points('session.loads')).toEqual({
      'found store': 4,
      'superseded store': 1,
      'expired store': 1,
      'unavailable store': 1,
    });
    expect(await telemetry.points('session.events')).toEqual({
      created: 4,
      rotated: 1,
      'ended replaced': 1,
      'ended logout': 1,
      'ended revoked': 1,
      'ended idle': 1,
      unavailable: 1,
    });
    expect(await telemetry.points('session.rejections')).toEqual({ superseded: 1, malformed: 1 });
  });

  test('have their units, and bounds of seconds', async () => {
    const life = await startLife();
    instrument(life.sessions);
    await liveThrough(life);
    const [{ metrics: all } = { metrics: [] }] = await telemetry.exported();
    expect(Object.fromEntries(all.map(({ descriptor: { name, unit } }) => [name, unit]))).toEqual({
      'session.backend.operation.duration': 's',
      'session.loads': '{load}',
      'session.events': '{event}',
      'session.rejections': '{rejection}',
    });
    const [histogram] = all.filter(({ descriptor }) => descriptor.name.endsWith('.duration'));
    const { buckets, sum } = histogram!.dataPoints[0]!.value as {
      buckets: { boundaries: number[] };
      sum: number;
    };
    expect([buckets.boundaries[0], buckets.boundaries.at(-1)]).toEqual([0.0001, 10]);
    expect(sum).toBeGreaterThan(0);
    expect(sum).toBeLessThan(60);
  });

  test('count what is read in this process as such, and what had to be asked for', async () => {
    const near = await startLife({ backend: new InMemoryBackend() });
    instrument(near.sessions);
    const { cookie } = await logIn(near);
    for (let n = 0; n < 5; n++) await ask(near, '/guarded/who', { cookie });
    await near.sessions.endSessions('ada');
    await ask(near, '/guarded/who', { cookie });
    expect(await telemetry.points('session.loads')).toEqual({ 'found memory': 5, 'absent store': 1 });
  });

  test('never have an id or a principal', async () => {
    const life = await startLife();
    const heard = new HeardMessages();
    instrument(life.sessions, { sessionId: true });
    const names = await liveThrough(life);
    heard.stop();
    for (const { id, principal } of heard.all) names.push(...[id, principal].filter(name => name !== undefined));
    const exported = JSON.stringify(await telemetry.exported());
    expect(exported).toContain('session.cookie.name');
    expect(new Set(names).size).toBeGreaterThan(5);
    for (const name of names) expect(exported).not.toContain(name);
  });
});

describe('The spans of instrumentSessions', () => {
  const attributes = (name: string) => telemetry.spans.filter(span => span.name === name).map(span => span.attributes);

  test('are one for each look-up and each write, with operation and outcome, and without an id', async () => {
    const life = await startLife();
    instrument(life.sessions);
    const names = await liveThrough(life);
    const counts: Record<string, number> = {};
    for (const { name } of telemetry.spans) counts[name] = (counts[name] ?? 0) + 1;
    expect(counts).toEqual({
      'load session': 7,
      'create session': 4,
      'update session': 2,
      'delete session': 2,
      'delete sessions of a principal': 1,
    });
    expect(attributes('load session')[0]).toEqual({
      'session.cookie.name': 'session',
      'session.operation': 'load',
      'session.outcome': 'found',
      'session.source': 'store',
    });
    expect(attributes('update session')[0]).toEqual({
      'session.cookie.name': 'session',
      'session.operation': 'update',
      'session.outcome': 'done',
    });
    const all = JSON.stringify(telemetry.spans.map(span => [span.name, span.attributes, span.events, span.status]));
    for (const name of names) expect(all).not.toContain(name);
  });

  test('have the id of their session where that is asked for, and never its principal', async () => {
    const life = await startLife();
    instrument(life.sessions, { sessionId: true });
    const { cookie, id } = await logIn(life, 'a principal');
    await ask(life, '/guarded/visit', { ...POST, cookie });
    const withId = telemetry.spans.map(span => [span.name, span.attributes['session.id']]);
    expect(withId).toEqual([
      ['create session', id],
      ['load session', id],
      ['update session', id],
    ]);
    expect(JSON.stringify(telemetry.spans.map(span => span.attributes))).not.toContain('a principal');
  });

  test('of a store that fails are errors', async () => {
    const life = await startLife();
    instrument(life.sessions);
    const { cookie } = await logIn(life);
    life.backend.failing.add('read');
    await ask(life, '/guarded/who', { cookie });
    const [span] = telemetry.spans.filter(({ name }) => name === 'load session');
    expect(span!.status).toEqual({ code: SpanStatusCode.ERROR });
    expect(span!.attributes).toMatchObject({
      'session.outcome': 'unavailable',
      'error.type': 'SessionUnavailableError',
    });
    expect(telemetry.spans.filter(({ status }) => status.code === SpanStatusCode.ERROR)).toEqual([span]);
  });

  test('are children of the span that is active around the request, and take the time that it took', async () => {
    const { tracer } = telemetry;
    const requests: Span[] = [];
    const life = await startLife({
      before: koa =>
        koa.use((ctx, next) =>
          tracer.startActiveSpan(ctx.path, span => {
            requests.push(span);
            return next().finally(() => span.end());
          }),
        ),
    });
    instrument(life.sessions);
    const { cookie } = await logIn(life);
    await Promise.all([1, 2, 3].map(() => ask(life, '/guarded/who', { cookie })));
    const loads = telemetry.spans.filter(({ name }) => name === 'load session');
    expect(loads.map(span => span.parentSpanContext?.spanId).sort()).toEqual(
      requests
        .slice(1)
        .map(span => span.spanContext().spanId)
        .sort(),
    );
    const milliseconds = ([seconds, nanoseconds]: [number, number]) => seconds * 1000 + nanoseconds / 1e6;
    for (const { startTime, endTime, duration } of loads) {
      expect(milliseconds(duration)).toBeGreaterThan(0);
      expect(milliseconds(endTime) - milliseconds(startTime)).toBeCloseTo(milliseconds(duration), 2);
      expect(Math.abs(Date.now() - milliseconds(endTime))).toBeLessThan(60_000);
    }
  });
});

describe('instrumentSessions', () => {
  test('counts the messages of its own cookie service alone, also of two with one name', async () => {
    const make = () =>
      new SessionCookie({ dataModel: UserSession, secretKey: SECRET, backend: new InMemoryBackend(), name: 'twin' });
    const [one, two] = [make(), make()];
    instrument(one);
    for (const sessions of [one, two, two]) {
      await sessions.createSession({ username: 'ada' }, contextFor());
    }
    expect(await telemetry.points('session.events')).toEqual({ created: 1 });
    expect(telemetry.spans.filter(({ name }) => name === 'create session')).toHaveLength(1);
    await Promise.all([one.close(), two.close()]);
  });

  test('returns what stops it, and then nobody listens', async () => {
    const life = await startLife();
    const stop = instrument(life.sessions);
    await logIn(life);
    stop();
    stop();
    await logIn(life);
    expect(await telemetry.points('session.events')).toEqual({ created: 1 });
    expect(telemetry.spans.filter(({ name }) => name === 'create session')).toHaveLength(1);
    for (const channel of ['load', 'backend', 'write', 'end'])
      expect(hasSubscribers(`routing-controllers-sessions:${channel}`)).toBe(false);
  });

  test('makes no spans with `tracer: false`, and no metrics with `meter: false`', async () => {
    const life = await startLife();
    const stop = instrument(life.sessions, { tracer: false });
    await logIn(life);
    stop();
    expect(telemetry.spans).toEqual([]);
    instrument(life.sessions, { meter: false });
    await logIn(life);
    expect(telemetry.spans.map(({ name }) => name)).toEqual(['create session']);
    expect(await telemetry.points('session.events')).toEqual({ created: 1 });
  });

  test('uses the global providers by default, under the name and the version of the package', async () => {
    const manifest = JSON.parse(readFileSync(path.resolve(__dirname, '../../package.json'), 'utf8')) as {
      name: string;
      version: string;
    };
    expect(VERSION).toBe(manifest.version);
    metrics.setGlobalMeterProvider(telemetry.meters);
    trace.setGlobalTracerProvider(telemetry.tracers);
    try {
      const life = await startLife();
      stops.push(instrumentSessions(life.sessions));
      await logIn(life);
      const scope = { name: manifest.name, version: manifest.version };
      expect((await telemetry.exported()).map(({ scope: own }) => own)).toMatchObject([scope]);
      expect(telemetry.spans.map(span => span.instrumentationScope)).toMatchObject([scope]);
    } finally {
      metrics.disable();
      trace.disable();
    }
  });

  test.each<[string, unknown, object | undefined, string]>([
    ['nothing', undefined, undefined, 'instrumentSessions: undefined is not a SessionCookie'],
    ['a class', SessionCookie, undefined, 'instrumentSessions: the class SessionCookie is not a SessionCookie'],
    ['an unknown option', 'one', { sessionID: true }, 'instrumentSessions: sessionID'],
    [
      'a provider',
      'one',
      { meter: {} },
      "instrumentSessions: meter: an object; write a Meter, as metrics.getMeter('sessions')",
    ],
    [
      'a word',
      'one',
      { tracer: 'x' },
      "instrumentSessions: tracer: 'x'; write a Tracer, as trace.getTracer('sessions')",
    ],
  ])('refuses %s, and names what to write', async (_, cookie, options, message) => {
    const life = await startLife();
    const given = (cookie === 'one' ? life.sessions : cookie) as SessionCookie<UserSession>;
    const error = caught(() => void instrumentSessions(given, options));
    expect(error).toMatchObject({ code: 'ERR_SESSION_CONFIG' });
    expect(error.message.slice(0, message.length)).toBe(message);
  });
});

function caught(run: () => void): Error {
  try {
    run();
  } catch (error) {
    return error as Error;
  }
  throw new Error('it throws nothing');
}
