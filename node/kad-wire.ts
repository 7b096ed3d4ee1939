// The two messages of the Kademlia protocol that this node sends by itself: libp2p's `put` waits for every silent peer
// before it asks anyone to store. Messages are protobuf behind a varint length (libp2p specs, kad-dht).
import { Record as KadRecord } from '@libp2p/kad-dht'
import { ParleyError } from '#protocol'
import { KAD_MESSAGE_MAX_BYTES } from './limits.ts'

const TYPE_PUT_VALUE = 0
const FIELD_TYPE = 1
const FIELD_KEY = 2
const FIELD_RECORD = 3

function varint(value: number): number[] {
  const out: number[] = []
  let rest = value
  while (rest >= 0x80) {
    out.push((rest % 128) | 0x80)
    rest = Math.floor(rest / 128)
  }
  out.push(rest)
  return out
}

const field = (number: number, bytes: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([(number << 3) | 2, ...varint(bytes.length)]), bytes])

/** "Store this", length prefix included. */
export function encodePutValue(key: Uint8Array, value: Uint8Array, nowMs: number): Uint8Array {
  const record = new KadRecord(key, value, new Date(nowMs)).serialize()
  const body = Buffer.concat([
    Buffer.from([FIELD_TYPE << 3, TYPE_PUT_VALUE]),
    field(FIELD_KEY, key),
    field(FIELD_RECORD, record),
  ])
  return new Uint8Array(Buffer.concat([Buffer.from(varint(body.length)), body]))
}

/** Collects one length-prefixed message. Undefined: not complete yet. */
export class KadMessageReader {
  #bytes = Buffer.alloc(0)

  push(chunk: Uint8Array): Uint8Array | undefined {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    let length = 0
    for (let i = 0; i < this.#bytes.length && i < 4; i++) {
      const byte = this.#bytes[i]!
      length += (byte & 0x7f) * 2 ** (7 * i)
      if (byte >= 0x80) continue
      if (length > KAD_MESSAGE_MAX_BYTES) break
      const end = i + 1 + length
      return this.#bytes.length >= end ? new Uint8Array(this.#bytes.subarray(i + 1, end)) : undefined
    }
    if (this.#bytes.length >= 4)
      throw new ParleyError('too_large', 'DHT message over the limit', { limit: `${KAD_MESSAGE_MAX_BYTES}` })
    return undefined
  }
}
