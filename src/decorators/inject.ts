import { createParamDecorator, UseBefore } from 'routing-controllers';

import { defineInjectedProperty } from '../koa/injections.js';
import { type Injection, noteParameter, noteProperty } from '../koa/requirements.js';
import { unguarded } from '../koa/routing-controllers.js';
import { ownerOf } from './place.js';

/** Records that a parameter or a property wants a session, or its data; by itself that guards the route. */
export function inject(
  target: object,
  member: string | symbol | undefined,
  index: number | undefined,
  injection: Injection,
  decorator: string,
): void {
  const controller = ownerOf(target, member, decorator);
  const name = member as string;
  if (typeof index === 'number') {
    noteParameter(controller, name, index, injection);
    createParamDecorator({ value: unguarded })(target, name, index);
    (UseBefore(unguarded) as MethodDecorator)(target, name, {});
  } else {
    noteProperty(controller, name, injection);
    defineInjectedProperty(target, name);
    (UseBefore(unguarded) as ClassDecorator)(controller);
  }
}
