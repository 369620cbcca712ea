import { join } from 'node:path';

/** The root of the repository. This file is compiled into `bench/build/bench`. */
export const ROOT = join(__dirname, '../../..');

/** The folder of the benchmark, with its package.json and its results. */
export const BENCH = join(ROOT, 'bench');

/** Where runs leave all that they measured. It is not kept in the repository: the tables in `results/` are. */
export const RAW_RESULTS = join(BENCH, 'build', 'results');
