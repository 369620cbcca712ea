import { isDeepStrictEqual } from 'node:util';

import {
  CrossOriginRequestError,
  type SessionHttpError,
  SessionFactorError,
  SessionNotFreshError,
  SessionRequiredError,
  SessionUnavailableError,
} from '../core/errors.js';
import { isSafeMethod } from '../koa/cross-origin.js';
import type { Components } from './components.js';
import type { DocumentObject, ResponseObject } from './document.js';
import type { ServedRoute } from './served-routes.js';

/** The demands of a route on one cookie service, with that service's defaults filled in. */
export interface EffectiveDemand {
  autoError: boolean;
  factors: readonly (readonly string[])[] | undefined;
  maxAuthAge: number | undefined;
  unauthenticatedStatus: 401 | 403;
}

/** Returns the errors with which a guard can answer in place of the route, one of each kind. */
export function guardErrors(demands: readonly EffectiveDemand[], verb: string): SessionHttpError[] {
  const errors: SessionHttpError[] = [];
  for (const { autoError, unauthenticatedStatus, factors, maxAuthAge } of demands) {
    if (autoError) errors.push(new SessionRequiredError(unauthenticatedStatus));
    if (autoError && factors) errors.push(new SessionFactorError(factors, factors[0], maxAuthAge));
    else if (autoError && maxAuthAge !== undefined) errors.push(new SessionNotFreshError());
  }
  if (!isSafeMethod(verb.toUpperCase())) errors.push(new CrossOriginRequestError());
  errors.push(new SessionUnavailableError());
  return errors.filter(
    (error, at) => errors.findIndex(({ status, code }) => status === error.status && code === error.code) === at,
  );
}

/** Returns the responses of these errors as this route sends them, by status. */
export function errorResponses(
  errors: readonly SessionHttpError[],
  { json, contentType }: ServedRoute,
  schemas: Components,
): Record<string, ResponseObject> {
  const responses: Record<string, ResponseObject> = {};
  for (const status of new Set(errors.map(error => error.status))) {
    const answers = errors.filter(error => error.status === status);
    const headers = Object.assign({}, ...answers.map(headersOf)) as DocumentObject;
    responses[String(status)] = {
      description: answers.map(({ message }) => message).join('; or: '),
      ...(Object.keys(headers).length > 0 ? { headers } : {}),
      content: {
        [contentType]: { schema: json ? anyOf(answers.map(error => bodySchema(error, schemas))) : textSchema(answers) },
      },
    };
  }
  return responses;
}

/**
 * Adds our responses to those that the application documents, whose text takes precedence. A response that is a reference
 * stays one.
 */
export function mergeResponses(
  present: Readonly<Record<string, ResponseObject>> | undefined,
  added: Readonly<Record<string, ResponseObject>>,
): Record<string, ResponseObject> {
  const merged = { ...present };
  for (const [status, ours] of Object.entries(added)) {
    const theirs = merged[status];
    if (theirs && '$ref' in theirs) continue;
    if (status === '204') {
      // No Content, although routing-controllers-openapi documents some for every status.
      merged[status] = { description: theirs?.description ?? ours.description };
      continue;
    }
    const content = { ...theirs?.content };
    for (const [type, { schema }] of Object.entries(ours.content ?? {})) {
      const documented = content[type]?.schema;
      const both = [documented, schema].filter(one => one !== undefined);
      content[type] = { ...content[type], schema: anyOf(both) };
    }
    const headers = { ...ours.headers, ...theirs?.headers };
    merged[status] = { ...ours, ...theirs, content, ...(Object.keys(headers).length > 0 ? { headers } : {}) };
  }
  return merged;
}

/** Returns the schema of an error's body as routing-controllers writes it: its name, its message, and its own properties. */
function bodySchema(error: SessionHttpError, schemas: Components): DocumentObject {
  const key = schemas.add(error.name, {
    type: 'object',
    required: ['name', 'message', 'code'],
    properties: {
      name: { type: 'string', enum: [error.name] },
      // One schema for all routes, whatever they demand.
      message: {
        type: 'string',
        example: (error instanceof SessionFactorError ? new SessionFactorError() : error).message,
      },
      code: { type: 'string', enum: [error.code] },
      ...(error instanceof SessionFactorError && FACTOR_PROPERTIES),
    },
  });
  return { $ref: `#/components/schemas/${key}` };
}

const NAMES = { type: 'array', items: { type: 'string' } };

/** What the body of a `SessionFactorError` has besides. */
const FACTOR_PROPERTIES: DocumentObject = Object.freeze({
  factors: { type: 'array', items: NAMES, description: 'All factors of one of these lists are demanded.' },
  missing: {
    ...NAMES,
    description: 'What is missing, or was proved too long ago, of the list that is nearest for this user.',
  },
  maxAuthAge: { type: 'number', description: 'The seconds within which each must have been proved.' },
});

/**
 * Returns the schema of the text response. In development routing-controllers sends an error's stack, which begins with the
 * message.
 */
function textSchema(answers: readonly SessionHttpError[]): DocumentObject {
  return { type: 'string', example: answers[0]?.message };
}

function headersOf({ headers }: SessionHttpError): DocumentObject {
  return 'retry-after' in headers
    ? { 'Retry-After': { description: 'Seconds after which to try again.', schema: { type: 'integer' } } }
    : {};
}

function anyOf(schemas: readonly DocumentObject[]): DocumentObject {
  const flat = schemas.flatMap(schema => alternativesOf(schema) ?? [schema]);
  const distinct = flat.filter((schema, at) => flat.findIndex(other => isDeepStrictEqual(other, schema)) === at);
  const [only] = distinct;
  return only && distinct.length === 1 ? only : { anyOf: distinct };
}

function alternativesOf(schema: DocumentObject): DocumentObject[] | undefined {
  const { anyOf: alternatives, ...rest } = schema;
  return Array.isArray(alternatives) && Object.keys(rest).length === 0 ? (alternatives as DocumentObject[]) : undefined;
}
