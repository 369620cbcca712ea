/** The tests that take minutes, and that `npm test` leaves out: the beginnings of their paths, and what they are. */
export const slowTests = {
  'test/browser/': 'the playground in a browser',
  'test/campaigns/': 'the short forms of the campaigns: races, kills, outages, large stores',
  'test/command/': 'the command, as processes on real stores',
  'test/examples/backend': 'the example of a backend of your own',
  'test/docs/snippets': 'the code in the documents',
  'test/docs/deployments': 'the table of rolling deployments, with two builds in two processes',
  'test/backends/redis': 'the Redis backend on a server, a cluster and Sentinel',
  'test/backends/postgres': 'the PostgreSQL backend, also behind PgBouncer',
  'test/backends/mysql': 'the MySQL backend, on MariaDB',
  'test/backends/moving': 'moving from one backend to another',
  'test/security/wrong-clocks': 'fleets whose clocks are wrong',
  'test/security/stolen-cookie': 'honest browsers and thefts, with tokens that are exchanged by themselves',
  'test/security/parallel-exchanges': 'tokens exchanged in parallel, on every engine',
  'test/security/log-in-limits': 'log-ins that race under a limit, on every engine',
  'test/security/model-versions': 'fleets with several versions of a model',
};

/** Jest's options that leave them out. */
export const withoutSlowTests = Object.keys(slowTests).map(path => `--testPathIgnorePatterns=<rootDir>/${path}`);
