import { existsSync } from 'node:fs';
import path from 'node:path';

/** The folder of package.json: the server runs compiled, from another depth than its sources lie at. */
export const projectRoot = findRoot(__dirname);

function findRoot(folder: string): string {
  if (existsSync(path.join(folder, 'package.json'))) return folder;
  const parent = path.dirname(folder);
  if (parent === folder) throw new Error(`No package.json above ${__dirname}`);
  return findRoot(parent);
}
