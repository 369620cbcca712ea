/*
 * How much of a campaign is run. The short form runs with the other tests; the campaign's own npm command sets the variable
 * to the whole.
 */
import { numberFromEnv } from './number-from-env.js';
import { rounds } from './rounds.js';

/** Random races of one session for each way to open a backend; a tenth as many of a revocation. */
export const RACES = numberFromEnv('RACES', rounds(1000), 1);

/** Random races on each backend from several processes. */
export const PROCESS_RACES = numberFromEnv('RACES', rounds(400), 1);

/** How often a process is killed for each engine. */
export const KILLS = numberFromEnv('KILLS', rounds(3), 1);

/** How many sessions are ended on each engine while they have a connection open. */
export const REVOCATIONS = numberFromEnv('REVOCATIONS', rounds(30, 10), 10);

/** How many sessions there are in a large store. */
export const SESSIONS = numberFromEnv('SESSIONS', 2_000, 1);

/** How many outages of each kind there are for each engine. */
export const OUTAGES = numberFromEnv('OUTAGES', 1, 1);

/** The time limit of one case in seconds, which leaves room for the other work of a busy machine. */
export const raceTimeout = 120 + RACES / 20;
