// The only thing that is not real in a simulation: a cipher whose ciphertext is the content behind a tag. It keeps what
// the rules rely on: sessions are set up from a bundle, their steps are staged and commit with the database, a step is
// spent once, and a ciphertext opens once, for its reader, at its place.
import type { Cipher, DbWriter, DeviceDb } from '#client/rules'
import {
  type Opened,
  type PeerDevice,
  type Place,
  type PrekeyCounts,
  packContent,
  type SealedRun,
  type Sealing,
  unpackContent,
  type Writer,
} from '#crypto'
import { convIdBytes, ParleyError, type Position, type PrekeyBundle, type Random, type SignedPrekeys } from '#protocol'
import { codeOf } from './trace.ts'

const KIND = 'stand-in'
const OWN_TAG = 0x5a

const HEAD_BYTES = 16

const nameOf = (peer: PeerDevice): string => `${peer.userId} ${peer.device}`

function encode(numbers: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * numbers.length)
  let at = 0
  for (const number of numbers) {
    bytes[at++] = number >>> 24
    bytes[at++] = number >>> 16
    bytes[at++] = number >>> 8
    bytes[at++] = number
  }
  return bytes
}

function decode(bytes: Uint8Array): number[] {
  const numbers: number[] = []
  for (let at = 0; at + 4 <= bytes.length; at += 4)
    numbers.push(((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0)
  return numbers
}

/** `pause`: how long encrypting and decrypting take, if they take time. */
export function standInCipher(
  self: Writer,
  db: DeviceDb,
  random: Random,
  pause: (() => Promise<void>) | undefined,
): Cipher {
  const own = codeOf(`${self.userId} ${self.device}`)
  const staged = new Map<string, Uint8Array>()
  const numbers = (key: string): number[] => {
    const bytes = staged.get(key) ?? db.get('keys', [KIND, key])?.value
    return bytes ? decode(bytes) : []
  }
  const write = (key: string, value: readonly number[]): void => void staged.set(key, encode(value))
  /** A step of the session makes a ciphertext unique. */
  const spend = (peer: PeerDevice): [session: number, step: number] => {
    const [session, step] = numbers(`to ${nameOf(peer)}`)
    if (session === undefined) throw new ParleyError('no_session', 'no session with this device')
    write(`to ${nameOf(peer)}`, [session, step! + 1])
    return [session, step! + 1]
  }
  return {
    hasSession: (peer) => numbers(`to ${nameOf(peer)}`).length > 0,
    forget: (peer) => write(`to ${nameOf(peer)}`, []),
    async setUp(peer: PeerDevice, _bundle: PrekeyBundle) {
      write(`to ${nameOf(peer)}`, [Math.floor(random.fraction() * 2 ** 32), 0])
    },
    async seal(peers: readonly PeerDevice[], items: readonly Sealing[]): Promise<SealedRun> {
      const sealed: Uint8Array[][] = []
      try {
        for (const { place, content } of items) {
          if (pause) await pause()
          const bodies = peers.map((peer) => {
            const head = encode([codeOf(nameOf(peer)), own, ...spend(peer)])
            return new Uint8Array(Buffer.concat([head, packContent(place, content)]))
          })
          sealed.push(bodies)
        }
        return { sealed, error: undefined }
      } catch (error) {
        if (error instanceof ParleyError) return { sealed, error }
        throw error
      }
    },
    async open(peer: PeerDevice, place: Place, ciphertext: Uint8Array): Promise<Opened> {
      if (pause) await pause()
      const [to, from, session, step] = decode(ciphertext.subarray(0, HEAD_BYTES))
      if (to !== own || from !== codeOf(nameOf(peer))) {
        throw new ParleyError('undecryptable', 'this message is for somebody else')
      }
      const key = `from ${nameOf(peer)} ${session}`
      const seen = numbers(key)
      if (seen.includes(step!)) throw new ParleyError('replayed', 'this message was decrypted before')
      const opened = unpackContent(place, ciphertext.subarray(HEAD_BYTES))
      seen.push(step!)
      write(key, seen.slice(-STEPS_KEPT))
      return opened
    },
    makeTag(place: Place) {
      const tag = random.bytes(8)
      tag[7] = OWN_TAG ^ place.k ^ convIdBytes(place.convId)[0]! ^ self.device
      return tag
    },
    ownsTag: (place: Place, tag: Uint8Array) =>
      tag[7] === ((OWN_TAG ^ place.k ^ convIdBytes(place.convId)[0]! ^ self.device) & 255),
    newStateKey: () => random.bytes(32),
    sealReadMark: (stateKey: Uint8Array, _where, at: Position) =>
      new Uint8Array(Buffer.concat([stateKey.subarray(0, 4), Buffer.from(JSON.stringify(at))])),
    openReadMark(stateKeys, _writer, _where, version: Position, body: Uint8Array): Position {
      if (!stateKeys.some((k) => Buffer.compare(k.subarray(0, 4), body.subarray(0, 4)) === 0)) {
        throw new ParleyError('not_found', 'sealed under a key that is not known')
      }
      const at = JSON.parse(Buffer.from(body.subarray(4)).toString()) as Position
      if (at !== version) throw new ParleyError('conflict', 'a mark of another version')
      return at
    },
    replenish: (_counts: PrekeyCounts): SignedPrekeys | undefined => undefined,
    commit(tx: DbWriter) {
      for (const [key, value] of staged) tx.put('keys', { kind: KIND, key, value })
      staged.clear()
    },
  }
}

/** Steps of a session that are remembered as spent. */
const STEPS_KEPT = 128
