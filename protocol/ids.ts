// Ids are hashes of keys: nobody can hand one out, take one away or speak for one without the key.
// In code an id is its text form (bech32m), so logs, rows and maps all show the same thing; on the wire it is 32 bytes.
import { hash } from 'node:crypto'
import { bech32m } from '@scure/base'
import { LRUCache } from 'lru-cache'
import { ParleyError } from './refusals.ts'

declare const kind: unique symbol
type Id<K extends string> = string & { readonly [kind]: K }
export type UserId = Id<'user'>
export type RegionId = Id<'region'>
export type ConvId = Id<'conversation'>

const PREFIX = { user: 'parley', region: 'parleyr', conversation: 'parleyc' } as const
type Kind = keyof typeof PREFIX
const CONTEXT: Readonly<Record<Kind, Buffer>> = {
  user: Buffer.from('parley/account/v1\0'),
  region: Buffer.from('parley/region/v1\0'),
  conversation: Buffer.from('parley/conversation/v1\0'),
}

export const ID_BYTES = 32
/** Ids of which text and bytes are kept: bech32m costs more than most of what an id is needed for. */
const KEPT = 4_096
/** Text is at most this long before it is decoded: prefix, separator, 52 characters of data, 6 of checksum. */
const TEXT_MAX = 70

type Kept = { readonly texts: LRUCache<string, string>; readonly bytes: LRUCache<string, Uint8Array> }
const newKept = (): Kept => ({ texts: new LRUCache({ max: KEPT }), bytes: new LRUCache({ max: KEPT }) })
const kept: Readonly<Record<Kind, Kept>> = { user: newKept(), region: newKept(), conversation: newKept() }

function toText(kind: Kind, bytes: Uint8Array): string {
  if (bytes.length !== ID_BYTES)
    throw new ParleyError('bad_id', `a ${kind} id has ${ID_BYTES} bytes, this has ${bytes.length}`)
  const { texts } = kept[kind]
  const name = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  let text = texts.get(name)
  if (text === undefined) {
    text = bech32m.encode(PREFIX[kind], bech32m.toWords(bytes), false)
    texts.set(name, text)
  }
  return text
}

function toBytes(kind: Kind, text: string): Uint8Array {
  const { bytes: known } = kept[kind]
  let bytes = known.get(text)
  if (bytes === undefined) {
    bytes = read(kind, text)
    known.set(text, bytes)
  }
  return bytes.slice()
}

function read(kind: Kind, text: string): Uint8Array {
  if (text.length > TEXT_MAX) throw new ParleyError('bad_id', `not a ${kind} id: too long`)
  let decoded: ReturnType<typeof bech32m.decodeUnsafe>
  try {
    decoded = bech32m.decodeUnsafe(text, false)
  } catch {
    decoded = undefined
  }
  if (!decoded) throw new ParleyError('bad_id', `not a ${kind} id (mistyped?): ${text}`)
  if (decoded.prefix !== PREFIX[kind]) {
    throw new ParleyError('bad_id', `a ${kind} id starts with ${PREFIX[kind]}1, this with ${decoded.prefix}1`)
  }
  const bytes = bech32m.fromWordsUnsafe(decoded.words)
  if (!bytes || bytes.length !== ID_BYTES) throw new ParleyError('bad_id', `not a ${kind} id: wrong length`)
  return bytes
}

/** A hash as text costs a tenth of one as bytes, and is what texts are looked up by. */
function idOfHash(kind: Kind, bytes: Uint8Array): string {
  const name = hash('sha256', Buffer.concat([CONTEXT[kind], bytes]), 'binary')
  return kept[kind].texts.get(name) ?? toText(kind, Buffer.from(name, 'latin1'))
}

export const userIdOf = (bytes: Uint8Array): UserId => toText('user', bytes) as UserId
export const regionIdOf = (bytes: Uint8Array): RegionId => toText('region', bytes) as RegionId
export const convIdOf = (bytes: Uint8Array): ConvId => toText('conversation', bytes) as ConvId
export const userIdBytes = (id: UserId): Uint8Array => toBytes('user', id)
export const regionIdBytes = (id: RegionId): Uint8Array => toBytes('region', id)
export const convIdBytes = (id: ConvId): Uint8Array => toBytes('conversation', id)

/** Text from outside -> id, or a `bad_id` that says what is wrong with it. Accepts upper case and blanks around it. */
export const ensureUserId = (text: string): UserId => userIdOf(toBytes('user', text.trim().toLowerCase()))
export const ensureRegionId = (text: string): RegionId => regionIdOf(toBytes('region', text.trim().toLowerCase()))
export const ensureConvId = (text: string): ConvId => convIdOf(toBytes('conversation', text.trim().toLowerCase()))

export const userIdOfRootKey = (rootKey: Uint8Array): UserId => idOfHash('user', rootKey) as UserId
export const regionIdOfRootKey = (rootKey: Uint8Array): RegionId => idOfHash('region', rootKey) as RegionId
/** `genesis` as received: the id is the hash of exactly these bytes. */
export const convIdOfGenesis = (genesis: Uint8Array): ConvId => idOfHash('conversation', genesis) as ConvId

/** Order of the raw bytes: what "smaller userId" means. */
export function compareIds(a: UserId, b: UserId): number {
  return Buffer.compare(userIdBytes(a), userIdBytes(b))
}
