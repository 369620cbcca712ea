import './koa/http-errors.js';

export { InMemoryBackend, type InMemoryBackendOptions } from './backends/in-memory.js';
export { SessionBackend, type WriteOutcome } from './core/backend.js';
export type { Clock } from './core/clock.js';
export {
  CrossOriginRequestError,
  InvalidSessionDataError,
  SessionConfigurationError,
  SessionConflictError,
  SessionError,
  SessionGoneError,
  SessionHeadersSentError,
  SessionHttpError,
  SessionNotFreshError,
  SessionRequiredError,
  SessionUnavailableError,
} from './core/errors.js';
export type { SessionRecord } from './core/record.js';
export { CurrentSession, type CurrentSessionOptions } from './decorators/current-session.js';
export { Principal } from './decorators/principal.js';
export { RequireSession } from './decorators/require-session.js';
export { SessionData, type SessionDataOptions } from './decorators/session-data.js';
export type { SessionCookieOptions } from './koa/options.js';
export type { CookieIdentifier, RequireSessionOptions } from './koa/requirements.js';
export { SessionCookie } from './koa/session-cookie.js';
export type { SessionEvent, SessionEventListener, SessionEventName, SessionEvents } from './session/events.js';
export type { ModelClass } from './model/model.js';
export type { Migrate } from './model/notes.js';
export { OptionalProps, type SessionInput } from './model/session-input.js';
export type { Session, SessionInfo } from './session/session.js';
