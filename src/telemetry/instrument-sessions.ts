import { subscribe, unsubscribe } from 'node:diagnostics_channel';

import { type Meter, metrics, trace, type Tracer } from '@opentelemetry/api';

import { type Check, checkedOptions, type OptionTable, shown, trueOrFalse } from '../core/checks.js';
import { SessionConfigurationError } from '../core/errors.js';
import { serviceOf, type SessionCookie } from '../koa/session-cookie.js';
import { channelName, type SessionChannel } from '../session/diagnostics.js';
import type { Listeners } from './listeners.js';
import { metricsOf } from './metrics.js';
import { spansOf } from './spans.js';
import { VERSION } from './version.js';

/** The options of {@link instrumentSessions}. */
export interface InstrumentSessionsOptions {
  /** Makes the metrics; `false`: there are none. Default: the global provider's, under the name of this package. */
  meter?: Meter | false;
  /** Makes the spans; `false`: there are none. Default: the global provider's, under the name of this package. */
  tracer?: Tracer | false;
  /** `true`: spans have the public id of their session as `session.id`. Metrics never have it. Default: `false`. */
  sessionId?: boolean;
}

/** The name of this package, under which its metrics and spans are found. */
const SCOPE = 'routing-controllers-sessions';

/** @param method that such an object has */
function made(method: string, instead: string): Check {
  const has = (value: object): boolean => typeof (value as Record<string, unknown>)[method] === 'function';
  return { instead, holds: value => value === false || (typeof value === 'object' && value !== null && has(value)) };
}

const OPTIONS: OptionTable = Object.freeze({
  meter: { check: made('createHistogram', "a Meter, as metrics.getMeter('sessions'), or false") },
  tracer: { check: made('startSpan', "a Tracer, as trace.getTracer('sessions'), or false") },
  sessionId: { check: trueOrFalse },
});

/**
 * Makes OpenTelemetry metrics and spans of what one cookie service does. Nothing is measured before, and nothing after the
 * returned function is called.
 *
 * ```ts
 * import { instrumentSessions } from 'routing-controllers-sessions/telemetry';
 *
 * const stop = instrumentSessions(sessions);
 * ```
 *
 * Call it after the OpenTelemetry SDK is set up: instruments of a meter that was asked for before record nothing.
 *
 * @returns what stops it
 * @throws SessionConfigurationError for anything but a `SessionCookie`, and for an option that cannot work
 */
export function instrumentSessions<T extends object>(
  cookie: SessionCookie<T>,
  options: InstrumentSessionsOptions = {},
): () => void {
  if (!serviceOf(cookie as unknown)) {
    const given = typeof cookie === 'function' ? `the class ${shown(cookie)}` : shown(cookie);
    throw new SessionConfigurationError(
      `instrumentSessions: ${given} is not a SessionCookie; write instrumentSessions(Container.get(SessionCookie))`,
    );
  }
  const {
    meter = metrics.getMeter(SCOPE, VERSION),
    tracer = trace.getTracer(SCOPE, VERSION),
    sessionId = false,
  } = checkedOptions(options, OPTIONS, 'instrumentSessions');
  const stops = [
    ...(meter === false ? [] : listen(cookie, metricsOf(meter))),
    ...(tracer === false ? [] : listen(cookie, spansOf(tracer, sessionId))),
  ];
  return () => {
    for (const stop of stops.splice(0)) stop();
  };
}

/** Several cookie services may publish in one process: all but one's messages are left out. */
function listen(cookie: object, listeners: Listeners): (() => void)[] {
  return Object.entries(listeners).map(([channel, hear]) => {
    const name = channelName(channel as SessionChannel);
    const hearOwn = (message: unknown): void => {
      if ((message as { cookie: object }).cookie === cookie) (hear as (message: unknown) => void)(message);
    };
    subscribe(name, hearOwn);
    return () => void unsubscribe(name, hearOwn);
  });
}
