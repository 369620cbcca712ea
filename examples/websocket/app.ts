import 'reflect-metadata';

import { PassThrough, type Readable } from 'node:stream';

import { IsString, Length } from 'class-validator';
import type Koa from 'koa';
import type { Context } from 'koa';
import { Body, createKoaServer, Ctx, Get, JsonController, Post, useContainer } from 'routing-controllers';
import {
  CurrentSession,
  Principal,
  type Session,
  SessionBackend,
  SessionCookie,
  type SessionCookieOptions,
  SessionData,
  SessionGoneError,
} from 'routing-controllers-sessions';
import { Container, Service } from 'typedi';

import { Room } from './room.js';

@SessionData
export class UserSession {
  @IsString() @Principal() username!: string;
  /** What the others call the member. */
  @Length(1, 64) nickname!: string;
}

class Entrance {
  @Length(1, 64) username!: string;
}

@Service()
@JsonController()
export class RoomController {
  constructor(
    private readonly sessions: SessionCookie<UserSession>,
    private readonly room: Room,
  ) {}

  /** Believes the name: see the example `passwords`. */
  @Post('/login')
  async login(@Body() { username }: Entrance, @Ctx() ctx: Context) {
    await this.sessions.createSession({ username, nickname: username }, ctx);
    return { username };
  }

  @Get('/me')
  me(@SessionData user: UserSession) {
    return user;
  }

  @Post('/logout')
  async logout(@CurrentSession() session: Session<UserSession>) {
    await session.end();
    return { message: 'Goodbye' };
  }

  /** Ends all sessions of the user, and with them their sockets and streams, on whatever machine. */
  @Post('/logout-everywhere')
  async logoutEverywhere(@CurrentSession() session: Session<UserSession>) {
    return { ended: await this.sessions.endSessions(session.data.username) };
  }

  /** The conversation as server-sent events, for those who only listen. */
  @Get('/lines')
  lines(@CurrentSession() { signal }: Session<UserSession>, @Ctx() ctx: Context): Readable {
    ctx.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no' });
    const stream = new PassThrough();
    // A comment: it sends the headers, and later notices a client that is gone without a word.
    const beat = () => stream.write(':\n\n');
    beat();
    const beats = setInterval(beat, 20_000).unref();
    const leave = this.room.hear(line => stream.write(`data: ${JSON.stringify(line)}\n\n`));
    const end = () => stream.end(signal.reason instanceof SessionGoneError ? 'event: session-over\ndata: {}\n\n' : '');
    // Emitted when the stream has ended, and when the client went away.
    stream.once('close', () => {
      clearInterval(beats);
      leave();
      signal.removeEventListener('abort', end);
    });
    if (signal.aborted) end();
    else signal.addEventListener('abort', end);
    return stream;
  }
}

export interface Settings extends Pick<SessionCookieOptions<UserSession>, 'secretKey' | 'clock'> {
  backend: SessionBackend;
}

export function createApp({ backend, ...options }: Settings): { app: Koa; sessions: SessionCookie<UserSession> } {
  useContainer(Container);
  Container.set(SessionBackend, backend);
  const sessions = new SessionCookie({ ...options, dataModel: UserSession, idleTimeout: 3600 });
  Container.set(SessionCookie, sessions);
  const app: Koa = createKoaServer({ controllers: [RoomController], development: false });
  // Koa reports each client of a stream that goes away as an error.
  app.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE') console.error(error);
  });
  return { app, sessions };
}
