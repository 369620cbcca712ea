/*
 * The part of an OpenAPI 3 document that is read or written here. Described by its shape, so that documents typed by any
 * package of OpenAPI types are accepted, and none has to be installed.
 */

/** One way to satisfy an operation: every scheme in it. An empty one requires nothing. */
export type SecurityRequirement = Readonly<Record<string, readonly string[]>>;

/** Any object of a document that is passed on unchanged. */
export type DocumentObject = Readonly<Record<string, unknown>>;

interface MediaTypeObject {
  readonly schema?: DocumentObject;
}

export interface ResponseObject {
  readonly description: string;
  readonly headers?: DocumentObject;
  readonly content?: Readonly<Record<string, MediaTypeObject>>;
}

export interface OperationObject {
  readonly operationId?: string;
  readonly security?: readonly SecurityRequirement[];
  readonly responses?: Readonly<Record<string, ResponseObject>>;
}

export type PathItemObject = Readonly<Record<string, OperationObject>>;

export interface DocumentParts {
  readonly paths: Readonly<Record<string, PathItemObject>>;
  readonly security?: readonly SecurityRequirement[];
  readonly components?: {
    readonly schemas?: Readonly<Record<string, DocumentObject>>;
    readonly securitySchemes?: Readonly<Record<string, DocumentObject>>;
  };
}
