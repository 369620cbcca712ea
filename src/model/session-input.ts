/**
 * Names, in a model, the properties that `createSession` may leave out because they have a default, which types cannot see:
 * `[OptionalProps]?: 'visits' | 'theme';` beside `visits = 0` and `theme = 'light'`. Properties that are optional
 * (`theme?: string`) need no mention.
 */
export const OptionalProps: unique symbol = Symbol('routing-controllers-sessions: OptionalProps');

// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- X is what makes two conditional types comparable
type Equal<A, B> = (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false;

type IsAny<V> = 0 extends 1 & V ? true : false;

/** The names of a model's data: without methods and symbols. */
type DataKey<T> = {
  [K in keyof T]-?: K extends symbol
    ? never
    : IsAny<T[K]> extends true
      ? K
      : NonNullable<T[K]> extends Function
        ? never
        : K;
}[keyof T];

/** The names that may be left out: optional ones, those in `OptionalProps`, and `readonly` ones, which may be getters. */
type OptionalKey<T> = {
  [K in DataKey<T>]-?: object extends Pick<T, K> ? K : Equal<Pick<T, K>, Readonly<Pick<T, K>>> extends true ? K : never;
}[DataKey<T>];

type Defaulted<T> = T extends { readonly [OptionalProps]?: infer K } ? Extract<K, DataKey<T>> : never;

type LeftOut<T> = OptionalKey<T> | Defaulted<T>;

type Primitive = string | number | bigint | boolean | symbol | null | undefined;

type InputValue<V> =
  IsAny<V> extends true
    ? V
    : V extends Primitive | Function | Date | ReadonlyMap<unknown, unknown> | ReadonlySet<unknown>
      ? V
      : V extends readonly unknown[]
        ? { [K in keyof V]: InputValue<V[K]> }
        : V extends object
          ? SessionInput<V>
          : V;

/**
 * The input of `createSession`: the data of a model, as a literal or as an instance, without methods and getters. A property
 * may be left out if it is optional, or if the model names it in {@link OptionalProps}; every other one is required.
 */
export type SessionInput<T> =
  IsAny<T> extends true
    ? T
    : T extends unknown
      ? { [K in keyof T as K extends Exclude<DataKey<T>, LeftOut<T>> ? K : never]: InputValue<T[K]> } & {
          [K in keyof T as K extends LeftOut<T> ? K : never]?: InputValue<T[K]> | undefined;
        }
      : never;
