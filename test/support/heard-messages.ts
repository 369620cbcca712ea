import { subscribe, unsubscribe } from 'node:diagnostics_channel';

import type { SessionChannel, SessionMessages } from 'routing-controllers-sessions';

export const CHANNELS = [
  'load',
  'backend',
  'write',
  'create',
  'rotate',
  'end',
  'reject',
  'conflict',
  'unavailable',
] as const satisfies readonly SessionChannel[];

export type HeardMessage = { [C in SessionChannel]: { channel: C } & SessionMessages[C] }[SessionChannel];

/** What was published since. */
export class HeardMessages {
  readonly all: HeardMessage[] = [];
  readonly #stops: (() => void)[];

  constructor(channels: readonly SessionChannel[] = CHANNELS) {
    this.#stops = channels.map(channel => {
      const name = `routing-controllers-sessions:${channel}`;
      const hear = (message: unknown): void => void this.all.push({ channel, ...(message as object) } as HeardMessage);
      subscribe(name, hear);
      return () => void unsubscribe(name, hear);
    });
  }

  on<C extends SessionChannel>(channel: C): SessionMessages[C][] {
    return this.all
      .filter(message => message.channel === channel)
      .map(({ channel: _, ...message }) => message as unknown as SessionMessages[C]);
  }

  stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }
}
