import './controllers/driver.js';
import './controllers/http-errors.js';

import { backendOfContainer, cookieServiceOf } from './controllers/services.js';
import { setBackendSource } from './koa/backend-source.js';
import { setCookieSource } from './koa/cookie-source.js';
import type { CookieIdentifier } from './koa/session-cookie.js';

setBackendSource(backendOfContainer);
setCookieSource(identifier => cookieServiceOf(identifier as CookieIdentifier, 'carry'));

export { InMemoryBackend, type InMemoryBackendOptions } from './backends/memory/backend.js';
export { SessionBackend, type WriteOutcome } from './core/backend.js';
export type { Clock } from './core/clock.js';
export {
  CrossOriginRequestError,
  InvalidSessionDataError,
  SessionConfigurationError,
  SessionConflictError,
  SessionError,
  SessionFactorError,
  SessionGoneError,
  SessionHeadersSentError,
  SessionHttpError,
  SessionLimitError,
  SessionNotFreshError,
  SessionRequiredError,
  SessionUnavailableError,
} from './core/errors.js';
export type { StoreFinding } from './core/findings.js';
export type { SessionLimit } from './core/limit.js';
export type { SessionNews, SessionNewsListener, SessionWatch } from './core/news.js';
export type { SessionRecord } from './core/record.js';
export { CurrentSession, type CurrentSessionOptions } from './controllers/current-session.js';
export { Principal } from './model/principal.js';
export { RequireSession } from './controllers/require-session.js';
export { SessionData, type SessionDataOptions } from './controllers/session-data.js';
export { type CurrentSessionInfo, SessionsController } from './controllers/sessions-controller.js';
export type { SessionCookieOptions } from './koa/options.js';
export {
  type CookieIdentifier,
  type CreateSessionOptions,
  type RequireSessionOptions,
  SessionCookie,
} from './koa/session-cookie.js';
export type {
  BackendOperation,
  BackendOutcome,
  BackendWrite,
  LoadOutcome,
  SessionChannel,
  SessionMessage,
  SessionMessages,
} from './session/diagnostics.js';
export type { SessionEvent, SessionEventListener, SessionEventName, SessionEvents } from './session/events.js';
export type { ModelClass } from './model/model.js';
export type { Migrate } from './model/notes.js';
export { OptionalProps, type SessionInput } from './model/session-input.js';
export type { Change, EndOptions, RotateOptions, Session, SessionInfo } from './session/session.js';
