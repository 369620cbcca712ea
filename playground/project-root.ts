import { existsSync } from 'node:fs';
import path from 'node:path';

/** The folder of package.json. It is searched for, because the compiled server lies deeper than its sources. */
export const projectRoot = findRoot(__dirname);

function findRoot(folder: string): string {
  if (existsSync(path.join(folder, 'package.json'))) return folder;
  const parent = path.dirname(folder);
  if (parent === folder) throw new Error(`No package.json above ${__dirname}`);
  return findRoot(parent);
}
