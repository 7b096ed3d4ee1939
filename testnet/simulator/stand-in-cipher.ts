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
  type Sealable,
  unpackContent,
  type Writer,
} from '#crypto'
import { convIdBytes, ParleyError, type Position, type PrekeyBundle, type Random, type SignedPrekeys } from '#protocol'

const KIND = 'stand-in'
const OWN_TAG = 0x5a

const nameOf = (peer: PeerDevice): string => `${peer.userId} ${peer.device}`

/** sender, session, step: what makes a ciphertext unique. */
type Step = { readonly session: number; readonly step: number }

export function standInCipher(self: Writer, db: DeviceDb, random: Random): Cipher {
  const staged = new Map<string, Uint8Array>()
  const read = (key: string): Uint8Array | undefined => staged.get(key) ?? db.get('keys', [KIND, key])?.value
  const numbers = (key: string): number[] => {
    const bytes = read(key)
    return bytes ? (JSON.parse(Buffer.from(bytes).toString()) as number[]) : []
  }
  const write = (key: string, value: readonly number[]): void => {
    staged.set(key, new Uint8Array(Buffer.from(JSON.stringify(value))))
  }
  const spend = (peer: PeerDevice): Step => {
    const [session, step] = numbers(`to ${nameOf(peer)}`)
    if (session === undefined) throw new ParleyError('no_session', 'no session with this device')
    write(`to ${nameOf(peer)}`, [session, step! + 1])
    return { session, step: step! + 1 }
  }
  return {
    hasSession: (peer) => numbers(`to ${nameOf(peer)}`).length > 0,
    async setUp(peer: PeerDevice, _bundle: PrekeyBundle) {
      write(`to ${nameOf(peer)}`, [Math.floor(random.fraction() * 2 ** 32), 0])
    },
    async seal(peers: readonly PeerDevice[], place: Place, content: Sealable) {
      return peers.map((peer) => {
        const { session, step } = spend(peer)
        const head = Buffer.from(
          JSON.stringify({ to: nameOf(peer), from: `${self.userId} ${self.device}`, session, step }),
        )
        return new Uint8Array(
          Buffer.concat([Buffer.from([head.length >> 8, head.length & 255]), head, packContent(place, content)]),
        )
      })
    },
    async open(peer: PeerDevice, place: Place, ciphertext: Uint8Array): Promise<Opened> {
      const length = ciphertext[0]! * 256 + ciphertext[1]!
      const head = JSON.parse(Buffer.from(ciphertext.subarray(2, 2 + length)).toString()) as Step & {
        to: string
        from: string
      }
      if (head.to !== `${self.userId} ${self.device}` || head.from !== nameOf(peer)) {
        throw new ParleyError('undecryptable', 'this message is for somebody else')
      }
      const key = `from ${nameOf(peer)} ${head.session}`
      const seen = numbers(key)
      if (seen.includes(head.step)) throw new ParleyError('replayed', 'this message was decrypted before')
      const opened = unpackContent(place, ciphertext.subarray(2 + length))
      write(key, [...seen, head.step].slice(-STEPS_KEPT))
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
const STEPS_KEPT = 512
