import { setTimeout as pass } from 'node:timers/promises';

/** How long the work takes that some routes only pretend to do. Tests bring a pace that they control. */
export class Pace {
  /** A look into a database. */
  async query(): Promise<void> {
    await pass(25);
  }

  /** Something that takes seconds, during which the user may log out. */
  async report(): Promise<void> {
    await pass(2000);
  }
}
