import { SessionBackend, type SessionRecord, type WriteOutcome } from 'routing-controllers-sessions';

/** What a call did to the store, at the moment when it did it. */
export type Effect =
  | { call: 'create'; record: SessionRecord; result: boolean }
  | { call: 'read'; id: string; result: SessionRecord | undefined }
  | { call: 'update'; record: SessionRecord; result: WriteOutcome }
  | { call: 'touch'; id: string; lastSeenAt: number; expiresAt: number; result: boolean }
  | { call: 'replace'; oldId: string; record: SessionRecord; result: WriteOutcome }
  | { call: 'delete'; id: string; result: boolean }
  | { call: 'listByPrincipal'; principal: string; result: SessionRecord[] }
  | { call: 'deleteByPrincipal'; principal: string; exceptId: string | undefined; result: string[] }
  | { call: 'deleteExpired'; now: number; result: number };

/** A call that waits: `before` it takes effect, or, its effect done, with its answer not handed over yet (`after`). */
export interface ParkedCall {
  readonly client: string;
  readonly call: Effect['call'];
  readonly phase: 'before' | 'after';
  release(): void;
}

/** Where the calls of several SchedulerBackends wait, in the order in which they came. */
export class Scheduler {
  readonly parked: ParkedCall[] = [];
  /** While it is open, calls go through without waiting. */
  open = true;

  /**
   * @param phases 2: a call waits before its effect and again before its answer. 1: before its effect only, which loses no
   * interleaving between clients that share nothing but the store.
   */
  constructor(
    public phases: 1 | 2,
    public onEffect: (effect: Effect, client: string) => void,
  ) {}

  /** Lets one of those that wait go on, and takes it out of the line. */
  release(index: number): ParkedCall {
    const [parked] = this.parked.splice(index, 1);
    if (!parked) throw new RangeError(`no call waits at ${index}`);
    parked.release();
    return parked;
  }

  async pause(client: string, call: Effect['call'], phase: 'before' | 'after'): Promise<void> {
    if (this.open || (phase === 'after' && this.phases === 1)) return;
    await new Promise<void>(release => this.parked.push({ client, call, phase, release }));
  }
}

/** Wraps a backend, and lets a test decide which of the calls that are under way goes on next. */
export class SchedulerBackend extends SessionBackend {
  constructor(
    readonly client: string,
    private readonly scheduler: Scheduler,
    /** Asked for at each call, so that a test can put another store underneath. */
    private readonly inner: () => SessionBackend,
  ) {
    super();
  }

  create(record: SessionRecord): Promise<boolean> {
    return this.#run(
      'create',
      () => this.inner().create(record),
      result => ({ call: 'create', record, result }),
    );
  }

  read(id: string): Promise<SessionRecord | undefined> {
    return this.#run(
      'read',
      () => this.inner().read(id),
      result => ({ call: 'read', id, result }),
    );
  }

  update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    return this.#run(
      'update',
      () => this.inner().update(record, expectedVersion),
      result => ({ call: 'update', record, result }),
    );
  }

  touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    return this.#run(
      'touch',
      () => this.inner().touch(id, lastSeenAt, expiresAt),
      result => ({ call: 'touch', id, lastSeenAt, expiresAt, result }),
    );
  }

  replace(oldId: string, record: SessionRecord): Promise<WriteOutcome> {
    return this.#run(
      'replace',
      () => this.inner().replace(oldId, record),
      result => ({ call: 'replace', oldId, record, result }),
    );
  }

  delete(id: string): Promise<boolean> {
    return this.#run(
      'delete',
      () => this.inner().delete(id),
      result => ({ call: 'delete', id, result }),
    );
  }

  listByPrincipal(principal: string): Promise<SessionRecord[]> {
    return this.#run(
      'listByPrincipal',
      () => this.inner().listByPrincipal(principal),
      result => ({ call: 'listByPrincipal', principal, result }),
    );
  }

  deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
    return this.#run(
      'deleteByPrincipal',
      () => this.inner().deleteByPrincipal(principal, exceptId),
      result => ({ call: 'deleteByPrincipal', principal, exceptId, result }),
    );
  }

  deleteExpired(now: number): Promise<number> {
    return this.#run(
      'deleteExpired',
      () => this.inner().deleteExpired(now),
      result => ({ call: 'deleteExpired', now, result }),
    );
  }

  close(): Promise<void> {
    return this.inner().close();
  }

  async #run<R>(call: Effect['call'], act: () => Promise<R>, describe: (result: R) => Effect): Promise<R> {
    await this.scheduler.pause(this.client, call, 'before');
    const result = await act();
    this.scheduler.onEffect(describe(result), this.client);
    await this.scheduler.pause(this.client, call, 'after');
    return result;
  }
}
