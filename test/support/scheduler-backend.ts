import type { SessionBackend, SessionLimit, SessionRecord } from 'routing-controllers-sessions';

import { type Effect, InterceptedBackend } from './intercepted-backend.js';

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

/** Lets a test decide which of the calls that are under way goes on next. */
export class SchedulerBackend extends InterceptedBackend {
  constructor(
    readonly client: string,
    private readonly scheduler: Scheduler,
    inner: () => SessionBackend,
  ) {
    super(inner);
  }

  protected async intercept<R>(
    call: Effect['call'],
    act: () => Promise<R>,
    describe: (result: R) => Effect,
  ): Promise<R> {
    await this.scheduler.pause(this.client, call, 'before');
    const result = await act();
    this.scheduler.onEffect(describe(result), this.client);
    await this.scheduler.pause(this.client, call, 'after');
    return result;
  }
}

/** One whose engine decides on limits itself. */
export class DecidingSchedulerBackend extends SchedulerBackend {
  override create(record: SessionRecord, limit?: SessionLimit): Promise<boolean> {
    return this.intercept(
      'create',
      () => this.inner().create(record, limit),
      result => ({ call: 'create', record, result }),
    );
  }
}
