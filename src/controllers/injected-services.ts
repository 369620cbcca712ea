import type { ActionMetadata } from 'routing-controllers';

import { SessionConfigurationError } from '../core/errors.js';
import { METADATA_SETTINGS } from '../core/reflection.js';

const seen = new WeakSet<Function>();

/**
 * Looks once at each controller whose constructor's types cannot be read, because a container then injects nothing, and the
 * first request that needs it would fail. Only such a controller is made at the start.
 *
 * A container that handed over itself, as typedi does where it knows no types, is an error. A parameter that is `undefined` is
 * a warning, because it may be optional.
 *
 * @throws SessionConfigurationError naming the parameter, and the setting to write for each tool
 */
export function checkInjectedServices({ target, controllerMetadata }: ActionMetadata): void {
  if (seen.has(target)) return;
  seen.add(target);
  const types = Reflect.getMetadata('design:paramtypes', target) as unknown[] | undefined;
  const doubtful = propertiesOf(target)
    .filter((_name, index) => types?.[index] === undefined || types[index] === Object)
    .filter(name => name !== undefined);
  if (doubtful.length === 0) return;
  const instance = madeBy(controllerMetadata);
  if (!instance) return;
  const container = doubtful.find(name => isContainer(instance[name]));
  const missing = container ?? doubtful.find(name => instance[name] === undefined);
  if (missing === undefined) return;
  const what = `${target.name}: nothing is injected into its constructor for ${missing}, because`;
  const message = types
    ? `${what} its type is not a class at run time; import the class without "type", or write @Inject(() => TheService)`
    : `${what} the compiler wrote down no types. ${METADATA_SETTINGS}; or write @Inject(() => TheService) on a property in place of the parameter`;
  if (container !== undefined) throw new SessionConfigurationError(message);
  process.emitWarning(message, 'SessionConfigurationWarning');
}

/** Returns the properties that a constructor assigns its parameters to, in their order, also in minified code. */
function propertiesOf(target: Function): (string | undefined)[] {
  const source = Function.prototype.toString.call(target);
  const list = /\bconstructor\s*\(([^()]*)\)\s*\{/.exec(source)?.[1] ?? '';
  return list.split(',').map(parameter => {
    const [name] = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.exec(parameter.trim()) ?? [];
    if (name === undefined) return undefined;
    return new RegExp(
      `this\\.([\\p{ID_Continue}$]+)\\s*=\\s*${name.replaceAll('$', '\\$&')}(?![\\p{ID_Continue}$])`,
      'u',
    ).exec(source)?.[1];
  });
}

function madeBy(controller: ActionMetadata['controllerMetadata']): Record<string, unknown> | undefined {
  try {
    return controller.getInstance(undefined as never) as Record<string, unknown>;
  } catch {
    // A container that needs a request, or has no such controller: its own error comes with the request.
    return undefined;
  }
}

/** Returns whether a value is the container, which typedi passes to a constructor as the last argument. */
function isContainer(value: unknown): boolean {
  return (value as { constructor?: Function } | null | undefined)?.constructor?.name === 'ContainerInstance';
}
