import type { Scheduler } from './scheduler-backend.js';

/** One try at a race: its clients are under way, and their calls wait in the scheduler. */
export interface Race {
  /** Resolves when all clients have their answers. */
  clients: Promise<unknown>;
  /** Looks at what came of it. What it throws names the order that led there. */
  verify(): Promise<void>;
}

/** Which of the calls that wait goes on next. */
type Choose = (step: number, waiting: number) => number;

/**
 * Starts the same race again and again, each time letting the calls go on in another order, until every order was walked:
 * depth first, deterministically.
 *
 * @returns how many orders there are
 */
export async function walkEveryInterleaving(scheduler: Scheduler, start: () => Promise<Race>): Promise<number> {
  let plan: number[] = [];
  for (let walked = 1; ; walked++) {
    const widths: number[] = [];
    const taken: number[] = [];
    await runInOrder(scheduler, start, (step, waiting) => {
      const choice = plan[step] ?? 0;
      if (choice >= waiting)
        throw new Error(`not deterministic: ${waiting} calls wait at step ${step} of ${plan.join()}`);
      widths.push(waiting);
      taken.push(choice);
      return choice;
    });
    while (taken.length > 0 && taken.at(-1)! + 1 >= widths[taken.length - 1]!) taken.pop();
    if (taken.length === 0) return walked;
    taken.push(taken.pop()! + 1);
    plan = taken;
  }
}

/** Runs a race once, in the order that `choose` makes up as it goes. */
export async function runInOrder(scheduler: Scheduler, start: () => Promise<Race>, choose: Choose): Promise<void> {
  scheduler.open = true;
  const order: string[] = [];
  const race = await start();
  const answered = { byAll: false };
  const noteEnd = () => (answered.byAll = true);
  race.clients.then(noteEnd, noteEnd);
  try {
    for (let step = 0, idle = 0; ;) {
      await turn();
      const waiting = scheduler.parked.length;
      if (waiting > 0) {
        idle = 0;
        const { client, call, phase } = scheduler.release(choose(step++, waiting));
        order.push(`${client} ${call}${phase === 'after' ? ' answered' : ''}`);
      } else if (answered.byAll) break;
      else if (++idle > 1_000) throw new Error('stuck: nobody waits for the scheduler, and not all have their answers');
      else await pastBackOff();
    }
    await race.clients;
    scheduler.open = true;
    await race.verify();
  } catch (error) {
    throw new Error(`${String(error instanceof Error ? error.message : error)}\nin this order: ${order.join(', ')}`, {
      cause: error,
    });
  }
}

/** Lets everything run that does not wait for the scheduler. */
function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

/** A write that met several conflicts waits a few milliseconds. Nothing else is under way then. */
function pastBackOff(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, 1));
}
