/** The part of class-transformer's metadata that describes session models. The package publishes no types for this path. */
declare module 'class-transformer/cjs/storage.js' {
  import type { TransformationType, TransformFnParams, TypeHelpOptions, TypeOptions } from 'class-transformer';

  interface TypeMetadata {
    reflectedType: unknown;
    typeFunction?: (help?: TypeHelpOptions) => Function;
    options?: TypeOptions;
  }
  interface TransformMetadata {
    transformFn: (params: TransformFnParams) => unknown;
    options?: { toClassOnly?: boolean; toPlainOnly?: boolean };
  }
  type ByProperty = ReadonlyMap<Function, ReadonlyMap<string | undefined, unknown>>;

  export const defaultMetadataStorage: {
    readonly _typeMetadatas: ByProperty;
    readonly _exposeMetadatas: ByProperty;
    readonly _excludeMetadatas: ByProperty;
    readonly _transformMetadatas: ByProperty;
    findTypeMetadata(target: Function, propertyName: string): TypeMetadata | undefined;
    findTransformMetadatas(target: Function, propertyName: string, type: TransformationType): TransformMetadata[];
  };
}
