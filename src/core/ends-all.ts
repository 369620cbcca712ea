import { SessionBackend } from './backend.js';

/**
 * Returns whether a backend implements `deleteAll`. One that does not inherits a refusal, perhaps from another copy of the
 * package.
 */
export function endsAll(backend: SessionBackend): boolean {
  const { deleteAll } = backend as Partial<SessionBackend>;
  return (
    deleteAll !== undefined && deleteAll !== SessionBackend.prototype.deleteAll && deleteAll !== inherited(backend)
  );
}

/** Returns the method of the class at the root, if that is the `SessionBackend` of any copy of the package. */
function inherited(backend: object): unknown {
  let root = backend;
  for (let next = prototypeOf(root); next && next !== Object.prototype; next = prototypeOf(next)) root = next;
  return root.constructor.name === SessionBackend.name ? (root as Partial<SessionBackend>).deleteAll : undefined;
}

function prototypeOf(value: object): object | null {
  return Object.getPrototypeOf(value) as object | null;
}
