import type { Context } from 'koa';

import { SessionConfigurationError } from '../core/errors.js';
import { varyByCookie } from './response-headers.js';
import type { Session } from '../session/session.js';
import type { CookieService } from './cookie-service.js';

/* eslint-disable @typescript-eslint/no-explicit-any -- the shapes are those of routing-controllers, which has `any` there */

/** The argument of routing-controllers' checkers: its `Action`. */
export interface CheckedAction {
  /** The request. */
  request: any;
  /** The response. */
  response: any;
  /** The Koa context. */
  context?: any;
  /** Runs what comes next. */
  next?: Function;
}

/** The value of routing-controllers' option `authorizationChecker`. */
export type AuthorizationChecker = (action: CheckedAction, roles: any[]) => Promise<boolean> | boolean;

/** The value of routing-controllers' option `currentUserChecker`. */
// eslint-disable-next-line @typescript-eslint/no-redundant-type-constituents -- the same type as routing-controllers has it
export type CurrentUserChecker = (action: CheckedAction) => Promise<any> | any;

/* eslint-enable @typescript-eslint/no-explicit-any */

/** @param rolesOf returns the roles in a session's data */
export function authorizationChecker<T extends object>(
  service: CookieService<T>,
  rolesOf?: (data: T, session: Session<T>) => string[],
): AuthorizationChecker {
  return async ({ context }, roles: unknown[]) => {
    const ctx = context as Context;
    service.assertSameOrigin(ctx);
    varyByCookie(ctx.res);
    const session = await service.requestSession(ctx).get();
    if (!session) return false;
    if (roles.length === 0) return true;
    if (!rolesOf) {
      throw new SessionConfigurationError(
        '@Authorized with roles: write authorizationChecker(data => data.roles), so that it knows them',
      );
    }
    const owned = rolesOf(session.data, session);
    return roles.some(role => owned.includes(role as string));
  };
}

/** @param userOf returns the user, if that is not the session's data */
export function currentUserChecker<T extends object>(
  service: CookieService<T>,
  userOf?: (data: T) => unknown,
): CurrentUserChecker {
  return async ({ context }) => {
    const ctx = context as Context;
    service.assertSameOrigin(ctx);
    varyByCookie(ctx.res);
    const session = await service.requestSession(ctx).get();
    if (!session) return undefined;
    return userOf ? userOf(session.data) : session.data;
  };
}
