import { readFileSync } from 'node:fs';
import path from 'node:path';

import { getMetadataArgsStorage } from 'routing-controllers';

import { projectRoot } from './project-root.js';

/** The code of one route, as it is in the repository. */
export interface RouteSource {
  verb: string;
  /** `/devices/:id` */
  path: string;
  file: string;
  /** The number of its first line, from 1. */
  line: number;
  code: string;
}

/** Returns the action of every route of these controllers, cut out of their files. A file is named after its controller. */
export function routeSources(controllers: readonly Function[]): RouteSource[] {
  const { actions, controllers: known } = getMetadataArgsStorage();
  return controllers.flatMap(controller => {
    const file = `playground/${controller.name.replace(/(?<!^)[A-Z]/g, '-$&').toLowerCase()}.ts`;
    const lines = readFileSync(path.join(projectRoot, file), 'utf8').split('\n');
    const base = known.find(({ target }) => target === controller)?.route ?? '';
    return actions
      .filter(({ target }) => target === controller)
      .map(({ type, route, method }) => ({
        verb: type.toUpperCase(),
        // `@Get()` leaves the path out, although its type has one.
        path: base + ((route as string | undefined) ?? ''),
        file,
        ...cut(lines, method),
      }));
  });
}

/**
 * Returns the lines from a method's first decorator to its closing brace; for a method that is inherited, those of the class.
 * The formatter puts them where this looks.
 */
function cut(lines: readonly string[], method: string): { line: number; code: string } {
  const signature = lines.findIndex(line => line.startsWith(`  ${method}(`) || line.startsWith(`  async ${method}(`));
  if (signature === -1) return cutClass(lines, method);
  let first = signature;
  while (lines[first - 1]?.startsWith('  @')) first--;
  const last = lines.indexOf('  }', signature);
  const code = lines.slice(first, last + 1).map(line => line.slice(2));
  return { line: first + 1, code: code.join('\n') };
}

function cutClass(lines: readonly string[], method: string): { line: number; code: string } {
  const name = lines.findIndex(line => / extends .*\{\}$/.test(line));
  if (name === -1) throw new Error(`no method ${method} among ${lines.length} lines, nor a class that inherits all`);
  let first = name;
  while (lines[first - 1]?.startsWith('@')) first--;
  return { line: first + 1, code: lines.slice(first, name + 1).join('\n') };
}
