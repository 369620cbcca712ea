import { HttpError } from 'routing-controllers';

import { SessionError } from '../core/errors.js';

/*
 * routing-controllers takes a status only from an instance of its own HttpError, and core must not import that. So HttpError
 * is inserted into the chain of prototypes, SessionError → Error, here where both are imported. An error without `httpCode`
 * is still answered with 500.
 */
Object.setPrototypeOf(SessionError.prototype, HttpError.prototype);
