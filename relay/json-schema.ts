// JSON schemas that know the type of what they describe: the few forms that configuration and the HTTP API need.
declare const described: unique symbol

/** T: what a value is that it accepts. */
export type Schema<T> = { readonly [described]?: T; readonly type?: string; readonly description?: string }
export type Static<S> = S extends Schema<infer T> ? T : unknown

type Properties = { readonly [name: string]: Schema<unknown> }
type Values<P extends Properties> = { [K in keyof P]: Static<P[K]> }
type Described = { readonly description?: string }

export const string = (
  rules: Described & { minLength?: number; maxLength?: number; pattern?: string; default?: string } = {},
): Schema<string> => ({ type: 'string', ...rules })

export const number = (rules: Described = {}): Schema<number> => ({ type: 'number', ...rules })

export const integer = (rules: Described & { minimum?: number; maximum?: number } = {}): Schema<number> => ({
  type: 'integer',
  ...rules,
})

export const boolean = (rules: Described = {}): Schema<boolean> => ({ type: 'boolean', ...rules })

export const oneOf = <const T extends string>(values: readonly T[], rules: Described = {}): Schema<T> =>
  ({ enum: values, ...rules }) as Schema<T>

export const array = <T>(items: Schema<T>, rules: Described & { maxItems?: number } = {}): Schema<T[]> =>
  ({ type: 'array', items, ...rules }) as Schema<T[]>

/** `may`: what may be missing. `closed`: nothing else may be there. */
export const object = <P extends Properties, O extends Properties = Record<never, never>>(
  must: P,
  { may, closed = false }: { may?: O; closed?: boolean } = {},
): Schema<Values<P> & Partial<Values<O>>> =>
  ({
    type: 'object',
    required: Object.keys(must),
    properties: { ...must, ...may },
    ...(closed && { additionalProperties: false }),
  }) as Schema<Values<P> & Partial<Values<O>>>
