import { Pace } from '../../playground/pace.js';
import { Gate } from './gate.js';

/** The playground's pace in a test: nothing takes time by itself. */
export class HeldPace extends Pace {
  /** How many queries wait for each other before any of them is answered. */
  together = 1;
  /** What a report waits for. */
  readonly reported = new Gate();
  #waiting: (() => void)[] = [];

  override query(): Promise<void> {
    return new Promise(resolve => {
      this.#waiting.push(resolve);
      if (this.#waiting.length >= this.together) for (const answer of this.#waiting.splice(0)) answer();
    });
  }

  override report(): Promise<void> {
    return this.reported.opened;
  }
}
