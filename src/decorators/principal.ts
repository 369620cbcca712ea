import { notePrincipal } from '../session/model.js';
import { ownerOf } from './place.js';

/**
 * Property of a data model: whose session it is, a string or a number. Makes it possible to list a user's sessions, to
 * end them, and to limit how many there are.
 *
 * @throws SessionConfigurationError on a static member or a symbol
 */
export function Principal(): (target: object, member: string | symbol) => void {
  return (target, member) => notePrincipal(ownerOf(target, member, '@Principal'), member as string);
}
