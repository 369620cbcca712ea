import { appendFileSync } from 'node:fs';
import { join } from 'node:path';

import { Tokens } from '../../src/cookie/tokens.js';

/*
 * Set-up of a run that is searched for tokens afterwards (scripts/no-tokens-in-output.mjs): writes down every token that
 * the tests of a file made. Jest loads it before each test file; without RCS_TOKEN_LOG it is not loaded at all.
 */
const folder = process.env['RCS_TOKEN_LOG'];
const made = new Set<string>();

// eslint-disable-next-line @typescript-eslint/unbound-method -- called with the tokens as `this` below
const { mint, verify } = Tokens.prototype;

Tokens.prototype.mint = function (this: Tokens, ...given: Parameters<typeof mint>) {
  const minted = mint.apply(this, given);
  made.add(minted.token);
  return minted;
};

Tokens.prototype.verify = function (this: Tokens, token: string) {
  const verified = verify.call(this, token);
  if (typeof verified === 'object' && verified.reissue !== undefined) made.add(verified.reissue);
  return verified;
};

afterAll(() => {
  if (folder !== undefined && made.size > 0)
    appendFileSync(join(folder, `${process.pid}.txt`), [...made].join('\n') + '\n');
});
