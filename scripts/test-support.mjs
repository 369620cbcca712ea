// The helpers of the tests that scripts use as well. They are TypeScript, which Node 20 cannot load by itself.
import { createRequire } from 'node:module';

import { register } from 'esbuild-register/dist/node.js';

register({ target: 'node20' });
export const { findProgram, freePort, startPostgres, startRedis } = createRequire(import.meta.url)(
  '../test/support/engines.ts',
);
