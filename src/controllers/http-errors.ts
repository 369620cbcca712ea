import { HttpError } from 'routing-controllers';

import { SessionError } from '../core/errors.js';

/*
 * routing-controllers takes a status from an error only if it is an instance of its own HttpError; core must not know of
 * it. So the chain of prototypes, SessionError → Error, gets HttpError in between, here where both are known. An error
 * that has no `httpCode` is answered with 500 as before.
 */
Object.setPrototypeOf(SessionError.prototype, HttpError.prototype);
