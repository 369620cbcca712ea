import 'reflect-metadata';

import { strict as assert } from 'node:assert';

import type { Context } from 'koa';
import { createKoaServer, Ctx, Get, JsonController, Post, UnauthorizedError, useContainer } from 'routing-controllers';
import { InMemoryBackend, SessionCookie, SessionData } from 'routing-controllers-sessions';
import request from 'supertest';
import { Container, Service } from 'typedi';

/** Stands in for what `betterAuth()` returns: whoever has the cookie is logged in, until they sign out. */
const loggedIn = new Map([['better-auth.session_token=of-ada', { id: 'u1', email: 'ada@example.com' }]]);
const auth = {
  api: {
    async getSession({ headers }: { headers: Headers; query?: { disableCookieCache?: boolean } }) {
      const user = loggedIn.get(headers.get('cookie') ?? '');
      return user ? { user, session: { userId: user.id } } : null;
    },
    async signOut({ headers }: { headers: Headers }) {
      return { success: loggedIn.delete(headers.get('cookie') ?? '') };
    },
  },
};
