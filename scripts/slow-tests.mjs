/** The tests that take minutes, and that `npm test` leaves out: the beginnings of their paths, and what they are. */
export const slowTests = {
  'test/browser/': 'the playground in a browser',
  'test/campaigns/': 'the short forms of the campaigns: races, kills, outages, large stores',
  'test/docs/snippets': 'the code in the documents',
};

/** Jest's options that leave them out. */
export const withoutSlowTests = Object.keys(slowTests).map(path => `--testPathIgnorePatterns=<rootDir>/${path}`);
