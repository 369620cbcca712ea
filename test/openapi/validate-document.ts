import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const validator = join(
  dirname(require.resolve('@seriousme/openapi-schema-validator/package.json')),
  'bin/validate-api-cli.js',
);

/**
 * Runs a document through a public validator of OpenAPI's own schema. As a command: it is an ES module, which jest does not load.
 *
 * @throws with what the validator says when the document is not valid
 */
export async function validateDocument(document: unknown): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'openapi-'));
  try {
    const file = join(folder, 'openapi.json');
    await writeFile(file, JSON.stringify(document));
    await promisify(execFile)(process.execPath, [validator, file]);
  } finally {
    await rm(folder, { recursive: true });
  }
}
