import { SessionBackend, type SessionRecord, type WriteOutcome } from 'routing-controllers-sessions';

/** What a call did to the store, at the moment when it did it. */
export type Effect =
  | { call: 'create'; record: SessionRecord; result: boolean }
  | { call: 'read'; id: string; result: SessionRecord | undefined }
  | { call: 'update'; record: SessionRecord; result: WriteOutcome }
  | { call: 'touch'; id: string; lastSeenAt: number; expiresAt: number; result: boolean }
  | { call: 'delete'; id: string; result: boolean }
  | { call: 'listByPrincipal'; principal: string; limit: number | undefined; result: SessionRecord[] }
  | { call: 'deleteByPrincipal'; principal: string; exceptId: string | undefined; result: string[] }
  | { call: 'deleteExpired'; now: number; result: number }
  | { call: 'deleteAll'; before: number; result: number };

/** Wraps a backend, and lets a subclass stand between each call and the store. */
export abstract class InterceptedBackend extends SessionBackend {
  /** @param inner asked for at each call, so that a test can put another store underneath */
  constructor(protected readonly inner: () => SessionBackend) {
    super();
  }

  /** @param act the call itself @param describe what it did, in words of its result */
  protected abstract intercept<R>(
    call: Effect['call'],
    act: () => Promise<R>,
    describe: (result: R) => Effect,
  ): Promise<R>;

  create(record: SessionRecord): Promise<boolean> {
    return this.intercept(
      'create',
      () => this.inner().create(record),
      result => ({ call: 'create', record, result }),
    );
  }

  read(id: string): Promise<SessionRecord | undefined> {
    return this.intercept(
      'read',
      () => this.inner().read(id),
      result => ({ call: 'read', id, result }),
    );
  }

  update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    return this.intercept(
      'update',
      () => this.inner().update(record, expectedVersion),
      result => ({ call: 'update', record, result }),
    );
  }

  touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    return this.intercept(
      'touch',
      () => this.inner().touch(id, lastSeenAt, expiresAt),
      result => ({ call: 'touch', id, lastSeenAt, expiresAt, result }),
    );
  }

  delete(id: string): Promise<boolean> {
    return this.intercept(
      'delete',
      () => this.inner().delete(id),
      result => ({ call: 'delete', id, result }),
    );
  }

  listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
    return this.intercept(
      'listByPrincipal',
      () => this.inner().listByPrincipal(principal, limit),
      result => ({ call: 'listByPrincipal', principal, limit, result }),
    );
  }

  deleteByPrincipal(
    principal: string,
    exceptId?: string,
    onEnded?: (ids: readonly string[]) => void,
  ): Promise<string[]> {
    return this.intercept(
      'deleteByPrincipal',
      () => this.inner().deleteByPrincipal(principal, exceptId, onEnded),
      result => ({ call: 'deleteByPrincipal', principal, exceptId, result }),
    );
  }

  deleteExpired(now: number): Promise<number> {
    return this.intercept(
      'deleteExpired',
      () => this.inner().deleteExpired(now),
      result => ({ call: 'deleteExpired', now, result }),
    );
  }

  override deleteAll(before: number): Promise<number> {
    return this.intercept(
      'deleteAll',
      () => this.inner().deleteAll(before),
      result => ({ call: 'deleteAll', before, result }),
    );
  }

  close(): Promise<void> {
    return this.inner().close();
  }
}
