/**
 * How much of a campaign is run: a short form with all other tests, the whole of it by the campaign's own npm command,
 * which sets the variable.
 */
function countOf(variable: string, short: number): number {
  const count = Number(process.env[variable] ?? short);
  if (!Number.isSafeInteger(count) || count < 1) throw new Error(`${variable}: a whole number from 1 is needed`);
  return count;
}

/** Random races of one session for each way to open a backend; a tenth as many of a revocation. */
export const RACES = countOf('RACES', 1000);

/** Random races on each backend from several processes. */
export const PROCESS_RACES = countOf('RACES', 400);

/** How often a process is killed for each engine. */
export const KILLS = countOf('KILLS', 3);

/** How many sessions there are in a large store. */
export const SESSIONS = countOf('SESSIONS', 2_000);

/** How many outages of each kind there are for each engine. */
export const OUTAGES = countOf('OUTAGES', 1);

/** Seconds that one case may take, with room for a machine that does other things as well. */
export const raceTimeout = 120 + RACES / 20;
