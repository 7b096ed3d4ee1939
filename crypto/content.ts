// What people say, bound to its place. A relay that carries ciphertext could deliver it in another conversation or as
// another message of the same author; so the ciphertext itself says where it belongs (conversation and the author's k)
// and what its author had seen (the newest head), and a reader refuses what does not fit the entry it came in. The
// ratchet does not move for what is refused: the same ciphertext can still be read where it belongs.
import { create } from '@bufbuild/protobuf'
import {
  type Again,
  AgainSchema,
  type Content,
  decodeContent,
  encodeContent,
  epochOf,
  GoneSchema,
  isPosition,
  limits,
  nOf,
  ParleyError,
  type Position,
  positionOf,
  RetrySchema,
} from '#protocol'
import { CONTENT_OVERHEAD_BYTES, STATE_KEY_BYTES } from './limits.ts'
import { pad, unpad } from './padding.ts'
import type { PeerDevice } from './peer.ts'
import { convBytes, type Place } from './place.ts'
import type { SealedRun, Sessions } from './sessions.ts'

const HASH_BYTES = 32

/** Said by a person; `data` is a line that is not UTF-8. */
export type Said =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'data'; readonly data: Uint8Array }
/** "I could not decrypt your entry at `at` with your counter `k`: send it again." */
export type RetryBody = { readonly kind: 'retry'; readonly at: Position; readonly k: number }
/** The content of an earlier `k` once more, with the state key that it carried; `gone`: the author has it no longer. */
export type AgainBody = {
  readonly kind: 'again'
  readonly k: number
  readonly said: Said | { readonly kind: 'gone' }
  readonly stateKey: Uint8Array | undefined
}
export type ContentBody = Said | RetryBody | AgainBody
/** The newest head its author had seen. */
export type SeenHead = { readonly at: Position; readonly hash: Uint8Array }

export type Sealable = {
  readonly body: ContentBody
  /** Undefined before the first entry of a conversation. */
  readonly seen: SeenHead | undefined
  /** Carried by the first message of one who knows none: 32 bytes. */
  readonly stateKey: Uint8Array | undefined
}
/** `unknown`: a kind of body that a newer program sends; shown as such, not asked for again. */
export type Opened = Omit<Sealable, 'body'> & { readonly body: ContentBody | { readonly kind: 'unknown' } }

export type Sealing = { readonly place: Place; readonly content: Sealable }

/**
 * One after the other, each for all of `peers` or for none. What ends a run: `too_large` over CONTENT_MAX_BYTES,
 * `no_session`.
 */
export async function sealContents(
  sessions: Sessions,
  peers: readonly PeerDevice[],
  items: readonly Sealing[],
): Promise<SealedRun> {
  const packed: Uint8Array[] = []
  let unpackable: ParleyError | undefined
  try {
    for (const { place, content } of items) packed.push(packContent(place, content))
  } catch (error) {
    if (!(error instanceof ParleyError)) throw error
    unpackable = error
  }
  const { sealed, error } = await sessions.encryptRun(peers, packed)
  return { sealed, error: error ?? unpackable }
}

/**
 * Decrypts and checks. `place` is what the entry's header says. `conflict` when the content names another conversation
 * or k, `malformed` when it is no content; besides these the errors of `Sessions.decrypt`. Nothing moves on an error.
 */
export function openContent(
  sessions: Sessions,
  peer: PeerDevice,
  place: Place,
  ciphertext: Uint8Array,
): Promise<Opened> {
  return sessions.decryptWith(peer, ciphertext, (plaintext) => unpackContent(place, plaintext))
}

/** The padded plaintext. */
export function packContent(place: Place, content: Sealable): Uint8Array {
  const { seen, stateKey } = content
  checkSize(content.body)
  const message: Content = {
    $typeName: 'parley.v1.Content',
    convId: convBytes(place.convId),
    k: place.k,
    body: packBody(content.body),
  }
  if (seen) message.seen = { $typeName: 'parley.v1.Head', epoch: epochOf(seen.at), n: nOf(seen.at), hash: seen.hash }
  if (stateKey) message.stateKey = { $typeName: 'parley.v1.StateKey', key: stateKey }
  return pad(encodeContent(message))
}

export function unpackContent(place: Place, plaintext: Uint8Array): Opened {
  const message = decodeContent(unpad(plaintext), limits.CONTENT_MAX_BYTES + CONTENT_OVERHEAD_BYTES)
  if (Buffer.compare(message.convId, convBytes(place.convId)) !== 0) {
    throw new ParleyError('conflict', 'the content belongs to another conversation', { convId: place.convId })
  }
  if (message.k !== place.k) {
    throw new ParleyError('conflict', 'the content belongs to another k', { k: `${place.k}`, inside: `${message.k}` })
  }
  return { body: unpackBody(message), seen: unpackHead(message), stateKey: unpackStateKey(message.stateKey) }
}

function checkSize(body: ContentBody): void {
  const said = body.kind === 'again' ? body.said : body
  const size = said.kind === 'text' ? Buffer.byteLength(said.text) : said.kind === 'data' ? said.data.length : 0
  if (size > limits.CONTENT_MAX_BYTES) {
    throw new ParleyError('too_large', 'content over the limit', {
      limit: `${limits.CONTENT_MAX_BYTES}`,
      size: `${size}`,
    })
  }
}

function packBody(body: ContentBody): Content['body'] {
  switch (body.kind) {
    case 'text':
      return { case: 'text', value: body.text }
    case 'data':
      return { case: 'data', value: body.data }
    case 'retry':
      return { case: 'retry', value: create(RetrySchema, { epoch: epochOf(body.at), n: nOf(body.at), k: body.k }) }
    case 'again':
      return { case: 'again', value: packAgain(body) }
  }
}

function packAgain({ k, said, stateKey }: AgainBody): Again {
  const again = create(AgainSchema, { k, ...(stateKey && { stateKey: { key: stateKey } }) })
  if (said.kind === 'text') again.body = { case: 'text', value: said.text }
  else if (said.kind === 'data') again.body = { case: 'data', value: said.data }
  else again.body = { case: 'gone', value: create(GoneSchema) }
  return again
}

function unpackBody({ body }: Content): Opened['body'] {
  switch (body.case) {
    case 'text':
      return { kind: 'text', text: body.value }
    case 'data':
      return { kind: 'data', data: body.value }
    case 'retry':
      return { kind: 'retry', at: position(body.value.epoch, body.value.n), k: body.value.k }
    case 'again':
      return unpackAgain(body.value)
    case undefined:
      return { kind: 'unknown' }
  }
}

function unpackAgain({ k, body, stateKey }: Again): Opened['body'] {
  const key = unpackStateKey(stateKey)
  switch (body.case) {
    case 'text':
      return { kind: 'again', k, said: { kind: 'text', text: body.value }, stateKey: key }
    case 'data':
      return { kind: 'again', k, said: { kind: 'data', data: body.value }, stateKey: key }
    case 'gone':
      return { kind: 'again', k, said: { kind: 'gone' }, stateKey: key }
    case undefined:
      return { kind: 'unknown' }
  }
}

function unpackHead({ seen }: Content): SeenHead | undefined {
  if (!seen) return undefined
  if (seen.hash.length !== HASH_BYTES) throw new ParleyError('malformed', 'head with a hash of the wrong length')
  return { at: position(seen.epoch, seen.n), hash: seen.hash }
}

function unpackStateKey(stateKey: { key: Uint8Array } | undefined): Uint8Array | undefined {
  if (!stateKey) return undefined
  if (stateKey.key.length !== STATE_KEY_BYTES) throw new ParleyError('malformed', 'state key of the wrong length')
  return stateKey.key
}

function position(epoch: number, n: number): Position {
  if (!isPosition(epoch, n)) throw new ParleyError('malformed', 'a place beyond the limits')
  return positionOf(epoch, n)
}
