import { SessionsController } from '../controllers/sessions-controller.js';
import type { Components } from './components.js';
import type { DocumentObject, ResponseObject } from './document.js';
import type { ServedRoute } from './served-routes.js';

/** What a document cannot learn of an action of {@link SessionsController} by its decorators. */
interface OwnSessionsAction {
  /** The action itself asks for a recent log-in; `undefined`: it does not. The number is the default. */
  maxAuthAge: number | undefined;
  responses: (schemas: Components) => Record<string, ResponseObject>;
}

/** Returns the description of an action of {@link SessionsController}; `undefined` for any other, and for an overridden one. */
export function ownSessionsAction({ controller, method, json }: ServedRoute): OwnSessionsAction | undefined {
  const base = SessionsController.prototype as unknown as Record<string, unknown>;
  const actual = controller.prototype as Record<string, unknown>;
  return json && actual[method] === base[method] ? ACTIONS.get(method) : undefined;
}

const instant = { type: 'string', format: 'date-time' };
const text = { type: 'string' };
const times = { createdAt: instant, lastSeenAt: instant, expiresAt: instant };

const DEFAULT_MAX_AUTH_AGE = 300;

const ACTIONS: ReadonlyMap<string, OwnSessionsAction> = new Map(
  Object.entries<OwnSessionsAction>({
    list: {
      maxAuthAge: undefined,
      responses: schemas => {
        const properties = { id: text, current: { type: 'boolean' }, ...times, ip: text, userAgent: text };
        const required = ['id', 'current', 'createdAt', 'lastSeenAt', 'expiresAt'];
        return { 200: answer({ type: 'array', items: named(schemas, 'SessionInfo', properties, required) }) };
      },
    },
    current: {
      maxAuthAge: undefined,
      responses: schemas => {
        const properties = { id: text, principal: text, ...times, authenticatedAt: instant };
        const required = ['id', 'createdAt', 'authenticatedAt', 'lastSeenAt', 'expiresAt'];
        return { 200: answer(named(schemas, 'CurrentSessionInfo', properties, required)) };
      },
    },
    endOne: {
      maxAuthAge: DEFAULT_MAX_AUTH_AGE,
      responses: schemas => ({
        204: { description: 'Successful response' },
        404: answer(
          named(schemas, 'NotFoundError', { name: { type: 'string', enum: ['NotFoundError'] }, message: text }),
          'You have no such session',
        ),
      }),
    },
    endOthers: {
      maxAuthAge: DEFAULT_MAX_AUTH_AGE,
      responses: () => ({
        200: answer({ type: 'object', required: ['ended'], properties: { ended: { type: 'integer', minimum: 0 } } }),
      }),
    },
  }),
);

function answer(schema: DocumentObject, description = 'Successful response'): ResponseObject {
  return { description, content: { 'application/json': { schema } } };
}

/** Adds the schema of an object, and refers to it. */
function named(
  schemas: Components,
  name: string,
  properties: Record<string, DocumentObject>,
  required = Object.keys(properties),
): DocumentObject {
  return { $ref: `#/components/schemas/${schemas.add(name, { type: 'object', required, properties })}` };
}
