import { type Attributes, SpanKind, SpanStatusCode, type Tracer } from '@opentelemetry/api';

import type { BackendWrite, SessionMessage } from '../session/diagnostics.js';
import type { Listeners } from './listeners.js';

/** The names of spans, verb first, as the operations of a backend are not. */
const NAMES: Readonly<Record<BackendWrite, string>> = Object.freeze({
  create: 'create session',
  update: 'update session',
  touch: 'touch session',
  delete: 'delete session',
  deleteByPrincipal: 'delete sessions of a principal',
  deleteAll: 'delete all sessions',
});

interface Ended extends SessionMessage {
  outcome: string;
  duration: number;
}

/**
 * Returns what makes a span of each look-up and each write, as a child of the span that is active there.
 *
 * @param hasId whether spans have the id of their session
 */
export function spansOf(tracer: Tracer, hasId: boolean): Listeners {
  /** A span is made when all is over, so that what is not over makes none. The message comes in the caller's own context. */
  const record = (name: string, message: Ended, own: Attributes): void => {
    const end = Date.now();
    const attributes: Attributes = {
      'session.cookie.name': message.name,
      'session.outcome': message.outcome,
      ...own,
      ...(hasId && message.id !== undefined ? { 'session.id': message.id } : {}),
    };
    const hasFailed = message.outcome === 'unavailable';
    if (hasFailed) attributes['error.type'] = 'SessionUnavailableError';
    const startTime = end - message.duration * 1000;
    const span = tracer.startSpan(name, { kind: SpanKind.INTERNAL, attributes, startTime });
    if (hasFailed) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end(end);
  };
  return {
    load: message => record('load session', message, { 'session.operation': 'load', 'session.source': message.source }),
    write: message => record(NAMES[message.operation], message, { 'session.operation': message.operation }),
  };
}
