import { type Attributes, type Meter, ValueType } from '@opentelemetry/api';

import type { SessionMessage } from '../session/diagnostics.js';
import type { Listeners } from './listeners.js';

/**
 * The upper bounds of the histogram, in seconds. They are those that the semantic conventions give `db.client.operation.duration`,
 * with finer ones among them, because a store nearby answers within a millisecond; and 2 is the default deadline.
 */
const BOUNDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10];

/**
 * Returns what counts and measures. Each attribute has a value out of a few: neither ids nor principals are any, because each
 * would be a time series of its own, and because metrics are kept where personal data has no place.
 */
export function metricsOf(meter: Meter): Listeners {
  const durations = meter.createHistogram('session.backend.operation.duration', {
    description: 'Time that calls of the session backend take',
    unit: 's',
    valueType: ValueType.DOUBLE,
    advice: { explicitBucketBoundaries: BOUNDS },
  });
  const count = (name: string, what: string, description: string) =>
    meter.createCounter(name, { description, unit: `{${what}}`, valueType: ValueType.INT });
  const loads = count('session.loads', 'load', "Look-ups of a request's session");
  const events = count('session.events', 'event', 'Events in the life of sessions');
  const rejections = count('session.rejections', 'rejection', 'Cookies and requests that were not accepted');

  const happened = (message: SessionMessage, event: string, reason?: string, times = 1): void =>
    events.add(times, {
      ...attributesOf(message),
      'session.event': event,
      ...(reason === undefined ? {} : { 'session.reason': reason }),
    });

  return {
    backend: message =>
      durations.record(message.duration, {
        ...attributesOf(message),
        'session.operation': message.operation,
        'session.outcome': message.outcome,
      }),
    load: message =>
      loads.add(1, {
        ...attributesOf(message),
        'session.outcome': message.outcome,
        'session.source': message.source,
      }),
    create: message => happened(message, 'created'),
    rotate: message => happened(message, 'rotated'),
    end: message => happened(message, 'ended', message.reason, message.count),
    conflict: message => happened(message, 'conflict'),
    unavailable: message => happened(message, 'unavailable'),
    reject: message => rejections.add(1, { ...attributesOf(message), 'session.reason': message.reason }),
  };
}

function attributesOf({ name }: SessionMessage): Attributes {
  return { 'session.cookie.name': name };
}
