import type { SessionBackend } from './backend.js';

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
