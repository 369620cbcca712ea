import type { SessionBackend } from './backend.js';
import { CLOCK_SKEW } from './clock.js';

/** Something that is wrong with the store of the sessions, or with how it is set up. */
export interface StoreFinding {
  /** `REDIS_EVICTION` for example; the same in every version. */
  code: string;
  /** The fault and its consequences. For the operator, not for clients: it may name hosts and folders. */
  message: string;
  /** The remedy. */
  advice: string;
}

/**
 * The key under which a backend of this library offers to look at its engine. It is registered globally, so that it is the
 * same in every copy of the package.
 */
export const FINDINGS: unique symbol = Symbol.for('routing-controllers-sessions: findings') as never;

/** Looks at the engine and its set-up. Rejects when the engine does not answer. */
export type FindFindings = () => Promise<StoreFinding[]>;

/** @returns what looks at a backend's engine, if it offers that */
export function findingsOf(backend: SessionBackend): FindFindings | undefined {
  return (backend as { [FINDINGS]?: FindFindings })[FINDINGS]?.bind(backend);
}

const looked = new WeakSet<SessionBackend>();

/**
 * Looks once at a backend's engine, beside the start-up, and warns of what is wrong. A server that cannot be reached yet is not
 * worth a word: the requests that need it say so.
 */
export function warnOfFindings(backend: SessionBackend): void {
  const find = findingsOf(backend);
  if (!find || looked.has(backend)) return;
  looked.add(backend);
  find().then(
    findings => {
      for (const { code, message, advice } of findings)
        process.emitWarning(`${message}. ${advice}`, { type: 'SessionConfigurationWarning', code });
    },
    () => undefined,
  );
}

/**
 * Returns the finding on a clock that is off by more than clocks may.
 *
 * @param ahead the milliseconds by which this process's clock is ahead of the store's
 */
export function wrongClock(ahead: number): StoreFinding | undefined {
  if (Math.abs(ahead) <= CLOCK_SKEW) return undefined;
  const seconds = Math.round(Math.abs(ahead) / 1000);
  return {
    code: 'CLOCK',
    message: `This process's clock is ${seconds} s ${ahead > 0 ? 'ahead of' : 'behind'} that of the session store`,
    advice: 'Synchronise the clocks of all machines (NTP), this one and that of the store',
  };
}
