import { numberFromEnv } from './number-from-env.js';

/** Generators start from here, so that a run can be had again: `TEST_SEED=1234 npx jest`. fast-check prints it when it fails. */
export const seed = numberFromEnv('TEST_SEED', 20_260_101);
