/*
 * For the suite that every backend passes: it waits for news hundreds of times, and for sweeps of thousands of records. How long
 * they take has tests of its own. A test imports it, and so does each process that serves it backends.
 */
import { LOOK_TIMES } from '../../src/backends/mysql/news-looks.js';
import { REST_TIMES } from '../../src/backends/pace.js';

LOOK_TIMES.interval = 5;
REST_TIMES.longest = 10;
