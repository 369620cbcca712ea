import type { SessionBackend } from './backend.js';
import { warnOfFindings } from './findings.js';

/**
 * The key under which a backend of this library offers to look at its set-up when a server is made. It is registered
 * globally, so that it is the same in every copy of the package.
 */
export const START_UP_CHECK: unique symbol = Symbol.for('routing-controllers-sessions: start-up check') as never;

/** Looks at a backend's set-up, beside the start-up, and warns of what cannot work. */
export function lookAtStartUp(backend: SessionBackend): void {
  const own = (backend as { [START_UP_CHECK]?: () => void })[START_UP_CHECK]?.bind(backend);
  if (own) own();
  else warnOfFindings(backend);
}
