// Configuration in three steps: what was written (file < environment < flags), what it means (one schema), and the
// secrets, which lie in files of their own and have a type of their own, so that the configuration can be logged.
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Ajv } from 'ajv'
import { parse } from 'smol-toml'
import { ParleyError } from '#protocol'
import { array, boolean, object, oneOf, type Schema, type Static, string } from './json-schema.ts'
import type { TlsFiles } from './tls.ts'

export const CONFIG_FILE = 'config.toml'

const ADDRESS = '^(\\[[0-9a-fA-F:.]+\\]|[^\\s:/\\[\\]]+):[0-9]{1,5}$'
const ORIGIN = '^https?://[^\\s/?#@]+$'
const address = (what: string) =>
  string({ pattern: ADDRESS, description: `${what}: HOST:PORT, for instance 127.0.0.1:4100` })
const origins = (what: string) =>
  array(string({ pattern: ORIGIN, maxLength: 256 }), {
    maxItems: 64,
    description: `${what}, a list; each one an origin such as https://relay.example.org`,
  })
const file = (what: string) =>
  string({ maxLength: 4_096, description: `${what}; a file, relative to the data directory; empty for none` })
const choice = <const T extends string>(what: string, ...values: T[]) =>
  oneOf(values, { description: `${what}: ${values.join(', ')}` })
const closed = { closed: true }

const SCHEMA = object(
  {
    name: string({
      minLength: 1,
      maxLength: 64,
      pattern: '^[^\\p{C}]+$',
      description: 'what the region is called: 1 to 64 characters',
    }),
    client: object(
      {
        listen: address('where clients connect'),
        urls: origins('origins under which clients reach this node, empty for the address listened on'),
        allowed_origins: origins('origins of web pages that may connect'),
        trust_proxy: boolean({ description: 'true only behind a proxy that sets X-Forwarded-For; else false' }),
        tls_cert: file('certificate with its chain (PEM) for TLS without a proxy, with client.tls_key'),
        tls_key: file('private key (PEM) of client.tls_cert'),
      },
      closed,
    ),
    mesh: object(
      {
        listen: address('where other nodes connect'),
        announce: array(string({ pattern: '^/', maxLength: 256 }), {
          maxItems: 8,
          description: 'multiaddrs to tell others instead of the one listened on, a list',
        }),
        bootstrap: array(string({ pattern: `^/.+/p2p/[^/]+$|${ORIGIN}`, maxLength: 256 }), {
          maxItems: 64,
          description:
            'entry nodes, a list; each one a multiaddr ending in /p2p/PEER or the http(s) origin of an entry service',
        }),
        admission: choice('who may join the mesh', 'open'),
      },
      closed,
    ),
    accounts: object({ registration: choice('who may open an account', 'open', 'closed') }, closed),
    log: object(
      { level: choice('how much is logged', 'trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent') },
      closed,
    ),
  },
  closed,
)

type Written = Static<typeof SCHEMA>

const validate = new Ajv({ strict: false }).compile(SCHEMA)

const DEFAULTS: Omit<Written, 'name'> = {
  client: { listen: '127.0.0.1:4100', urls: [], allowed_origins: [], trust_proxy: false, tls_cert: '', tls_key: '' },
  mesh: { listen: '127.0.0.1:4200', announce: [], bootstrap: [], admission: 'open' },
  accounts: { registration: 'open' },
  log: { level: 'info' },
}

export type Listen = { readonly host: string; readonly port: number }

export type RelayConfig = {
  readonly dataDir: string
  readonly name: string
  readonly client: {
    readonly listen: Listen
    readonly urls: readonly string[]
    readonly allowedOrigins: readonly string[]
    readonly trustProxy: boolean
    /** Undefined: no TLS here, a proxy in front has it. */
    readonly tls: TlsFiles | undefined
  }
  readonly mesh: {
    readonly listen: Listen
    readonly announce: readonly string[]
    readonly bootstrap: readonly string[]
    readonly admission: 'open'
  }
  readonly accounts: { readonly registration: 'open' | 'closed' }
  readonly log: { readonly level: Written['log']['level'] }
}

/** Values by their full key ("client.listen"), as text or already typed, and where they came from. */
export type Layer = { readonly from: string; readonly values: ReadonlyMap<string, unknown> }

type Tree = { [key: string]: unknown }
const isTree = (value: unknown): value is Tree =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)

function flatten(tree: Tree, prefix = ''): [string, unknown][] {
  return Object.entries(tree).flatMap(([key, value]) =>
    isTree(value) ? flatten(value, `${prefix}${key}.`) : [[`${prefix}${key}`, value] as [string, unknown]],
  )
}

function schemaAt(key: string): Schema<unknown> | undefined {
  let at: unknown = SCHEMA
  for (const step of key.split('.')) at = (at as { properties?: Tree } | undefined)?.properties?.[step]
  return at as Schema<unknown> | undefined
}

const KEYS: readonly string[] = [...flatten(DEFAULTS as unknown as Tree).map(([key]) => key), 'name']
const variableOf = (key: string) => `PARLEY_${key.replaceAll('.', '_').toUpperCase()}`

/** Texts from outside a file, in the type that the key wants. */
function typed(key: string, text: string): unknown {
  switch (schemaAt(key)?.type) {
    case 'array':
      return text
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== '')
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text
    default:
      return text
  }
}

export function environmentLayer(environment: Readonly<Record<string, string | undefined>>): Layer {
  const values = new Map<string, unknown>()
  for (const key of KEYS) {
    const text = environment[variableOf(key)]
    if (text !== undefined && text !== '') values.set(key, typed(key, text))
  }
  return { from: 'environment', values }
}

export function tomlLayer(text: string, from: string): Layer {
  try {
    return { from, values: new Map(flatten(parse(text) as Tree)) }
  } catch (error) {
    const [line] = (error instanceof Error ? error.message : String(error)).split('\n', 1)
    throw new ParleyError('bad_argument', `${from} is not TOML: ${line}`, { next: `correct ${from}` })
  }
}

function refuse(key: string, layer: string | undefined, value: unknown): ParleyError {
  const allowed = schemaAt(key)?.description
  const known = KEYS.filter((name) => name.split('.')[0] === key.split('.')[0])
  const source = layer === 'environment' ? `${variableOf(key)} in the environment` : layer ? `${key} (${layer})` : key
  const shown = JSON.stringify(value)?.slice(0, 100) ?? 'nothing'
  const what = allowed
    ? `${source} is ${shown}; allowed is ${allowed}`
    : `${source} is no such key; known are ${(known.length > 0 ? known : KEYS).join(', ')}`
  return new ParleyError('bad_argument', what, { key, next: 'correct this value and start again' })
}

/** Where in the tree the first error lies, down to the key: "/client/urls/0" -> "client.urls". */
function keyOf(path: string): string {
  const steps = path.split('/').slice(1)
  const key = KEYS.find((name) => name === steps.slice(0, name.split('.').length).join('.'))
  return key ?? steps.join('.')
}

function plant(tree: Tree, key: string, value: unknown): void {
  const steps = key.split('.')
  let at = tree
  for (const step of steps.slice(0, -1)) {
    const next = at[step]
    const below: Tree = isTree(next) ? next : {}
    at[step] = below
    at = below
  }
  at[steps.at(-1)!] = value
}

function readListen(text: string, key: string): Listen {
  const at = text.lastIndexOf(':')
  const port = Number(text.slice(at + 1))
  if (port > 65_535) throw refuse(key, undefined, text)
  return { host: text.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port }
}

function tlsFiles(dataDir: string, { tls_cert, tls_key }: Written['client']): TlsFiles | undefined {
  if (tls_cert === '' && tls_key === '') return undefined
  if (tls_cert !== '' && tls_key !== '')
    return { certFile: resolve(dataDir, tls_cert), keyFile: resolve(dataDir, tls_key) }
  const [is, misses] = tls_key === '' ? ['client.tls_cert', 'client.tls_key'] : ['client.tls_key', 'client.tls_cert']
  throw new ParleyError('bad_argument', `${is} is set and ${misses} is not`, {
    key: misses!,
    next: `set ${misses} too, or neither`,
  })
}

/** Later layers win. Throws `bad_argument` that names the key, where it came from and what is allowed. */
export function readConfig(dataDir: string, layers: readonly Layer[]): RelayConfig {
  const tree = structuredClone(DEFAULTS) as unknown as Tree
  const cameFrom = new Map<string, string>()
  for (const { from, values } of layers) {
    for (const [key, value] of values) {
      plant(tree, key, value)
      cameFrom.set(key, from)
    }
  }
  const unknown = flatten(tree).find(([key]) => !KEYS.includes(key))
  if (unknown) throw refuse(unknown[0], cameFrom.get(unknown[0]), unknown[1])
  if (!validate(tree)) {
    const error = validate.errors?.[0]
    const missing = (error?.params as { missingProperty?: string } | undefined)?.missingProperty
    const key = missing
      ? [...(error?.instancePath.split('/').slice(1) ?? []), missing].join('.')
      : keyOf(error?.instancePath ?? '')
    throw refuse(key, cameFrom.get(key), new Map(flatten(tree)).get(key))
  }
  const { name, client, mesh, accounts, log } = tree as unknown as Written
  if (client.urls.length === 0 && /^(0\.0\.0\.0|\[::\]):/.test(client.listen)) {
    throw new ParleyError('bad_argument', `client.listen is ${client.listen}: clients cannot dial that`, {
      key: 'client.urls',
      next: 'say in client.urls (or --client-url) under which origin clients reach this node',
    })
  }
  return {
    dataDir,
    name,
    client: {
      listen: readListen(client.listen, 'client.listen'),
      urls: client.urls,
      allowedOrigins: client.allowed_origins,
      trustProxy: client.trust_proxy,
      tls: tlsFiles(dataDir, client),
    },
    mesh: { ...mesh, listen: readListen(mesh.listen, 'mesh.listen') },
    accounts,
    log,
  }
}

/** The whole configuration of a data directory. Throws `bad_argument` when it has none. */
export async function loadConfig(
  dataDir: string,
  environment: Readonly<Record<string, string | undefined>>,
  flags: ReadonlyMap<string, unknown>,
): Promise<RelayConfig> {
  const file = join(dataDir, CONFIG_FILE)
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    const next = `make it with: parley relay init --data ${dataDir} --name NAME --root-key FILE`
    if (error.code === 'ENOENT') throw new ParleyError('bad_argument', `there is no relay in ${dataDir}`, { next })
    throw new ParleyError('bad_argument', `cannot read ${file}: ${error.code}`, {
      next: 'give this user the right to read it',
    })
  })
  return readConfig(dataDir, [
    tomlLayer(text, file),
    environmentLayer(environment),
    { from: 'command line', values: flags },
  ])
}
