/*
 * Begins with the files that take longest, so that the last worker is not left alone with one of them. A clean checkout has no
 * durations of an earlier run, and Jest goes by the sizes of the files.
 */
const { default: Sequencer } = require('@jest/test-sequencer');

const LONGEST = [
  'backends/mysql-settings',
  'campaigns/outages',
  'browser/page',
  'campaigns/interleavings',
  'campaigns/live',
  'docs/snippets',
  'backends/mysql.test',
  'backends/redis.test',
  'backends/postgres.test',
  'security/wrong-clocks',
  'backends/redis-primary',
  'backends/redis-limits',
  'security/concurrency',
  'backends/mysql-watch',
  'campaigns/races',
  'examples/backend.test',
  'browser/promises',
  'command/engines',
  'backends/postgres-pgbouncer',
  'backends/moving',
  'security/faults',
  'security/tokens',
].map(name => `/test/${name}`);

module.exports = class extends Sequencer {
  sort(tests) {
    const rank = ({ path }) => {
      const at = LONGEST.findIndex(name => path.replaceAll('\\', '/').includes(name));
      return at === -1 ? LONGEST.length : at;
    };
    return super.sort(tests).sort((a, b) => rank(a) - rank(b));
  }
};
