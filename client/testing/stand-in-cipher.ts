// A cipher without secrets for tests of the engine: it has the same shape of state as Signal's (a session per device
// that moves with every message, stored in the transaction of the message) and refuses what the real one would refuse:
// a step that was read before, an entry that was moved, a session that is not there.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { Opened, PeerDevice, Place, PrekeyCounts, Sealable, Writer } from '#crypto'
import { ParleyError, type Position, type Random, type SignedPrekeys, SignedPrekeysSchema } from '#protocol'
import type { Cipher, DbReader, DbWriter } from '../rules.ts'

const PREKEYS_LOW = 25

type Step = { readonly session: string; readonly step: number; readonly place: Place; readonly content: unknown }

const replacer = (_: string, value: unknown): unknown =>
  value instanceof Uint8Array ? { bytes: Buffer.from(value).toString('base64') } : value
const reviver = (_: string, value: unknown): unknown =>
  value !== null && typeof value === 'object' && 'bytes' in value
    ? new Uint8Array(Buffer.from((value as { bytes: string }).bytes, 'base64'))
    : value

const pack = (value: unknown): Uint8Array => new Uint8Array(Buffer.from(JSON.stringify(value, replacer)))
const unpack = <T>(bytes: Uint8Array): T => JSON.parse(Buffer.from(bytes).toString(), reviver) as T

/** Which ratchet step a ciphertext of the stand-in burnt, and what it says. */
export function stepOf(ciphertext: Uint8Array): { step: string; content: string } {
  const { session, step, content } = unpack<Step>(ciphertext)
  return { step: `${session}#${step}`, content: JSON.stringify(content, replacer) }
}

export function standInCipher(db: DbReader, self: Writer, random: Random): Cipher {
  /** Undefined: is to be deleted. */
  const staged = new Map<string, Uint8Array | undefined>()
  const read = <T>(kind: string, key: string): T | undefined => {
    const name = `${kind}\0${key}`
    const value = staged.has(name) ? staged.get(name) : db.get('keys', [kind, key])?.value
    return value && unpack<T>(value)
  }
  const write = (kind: string, key: string, value: unknown): void => {
    staged.set(`${kind}\0${key}`, pack(value))
  }
  const nameOf = (peer: Writer): string =>
    `${peer.userId}.${peer.device}.${peer.registrationEpoch}.${peer.registrationVersion}`
  const me = nameOf(self)
  const secret = Buffer.from(me).subarray(-12)
  const mac = ({ convId, k }: Place): Uint8Array => {
    let sum = 7
    for (const byte of Buffer.concat([secret, Buffer.from(`${convId}${k}`)])) sum = (Math.imul(sum, 31) + byte) | 0
    const out = Buffer.alloc(4)
    out.writeInt32BE(sum)
    return out
  }
  return {
    hasSession: (peer) => read('out', nameOf(peer)) !== undefined,
    forget: (peer) => void staged.set(`out\0${nameOf(peer)}`, undefined),
    async setUp(peer) {
      const session = `${me}>${nameOf(peer)}:${Buffer.from(random.bytes(4)).toString('hex')}`
      write('out', nameOf(peer), { session, step: 0 })
    },
    async seal(peers, items) {
      const sealed: Uint8Array[][] = []
      for (const { place, content } of items) {
        const outs = peers.map((peer) => read<{ session: string; step: number }>('out', nameOf(peer)))
        if (outs.includes(undefined)) return { sealed, error: new ParleyError('no_session', 'no session') }
        const bodies = outs.map((out, i) => {
          const { session, step } = out!
          write('out', nameOf(peers[i]!), { session, step: step + 1 })
          return pack({ session, step, place, content } satisfies Step)
        })
        sealed.push(bodies)
      }
      return { sealed, error: undefined }
    },
    async open(peer: PeerDevice, place: Place, ciphertext) {
      let step: Step
      try {
        step = unpack<Step>(ciphertext)
      } catch {
        throw new ParleyError('undecryptable', 'no ciphertext of the stand-in')
      }
      if (!step.session.startsWith(`${nameOf(peer)}>${me}:`))
        throw new ParleyError('undecryptable', 'of another session')
      const last = read<number>('in', step.session) ?? -1
      if (step.step <= last) throw new ParleyError('replayed', 'read before')
      if (step.place.convId !== place.convId || step.place.k !== place.k) throw new ParleyError('conflict', 'moved')
      write('in', step.session, step.step)
      const { stateKey, seen, body } = step.content as Sealable
      return { stateKey, seen, body } satisfies Opened
    },
    makeTag: (place) => new Uint8Array(Buffer.concat([random.bytes(4), mac(place)])),
    ownsTag: (place, tag) => Buffer.compare(tag.subarray(4), mac(place)) === 0,
    newStateKey: () => random.bytes(32),
    sealReadMark: (stateKey, where, at) => pack({ stateKey, where, at }),
    openReadMark(stateKeys, _writer, _where, version, body): Position {
      const mark = unpack<{ stateKey: Uint8Array; at: Position }>(body)
      if (!stateKeys.some((key) => Buffer.compare(key, mark.stateKey) === 0))
        throw new ParleyError('not_found', 'no key')
      if (mark.at !== version) throw new ParleyError('conflict', 'another place')
      return version
    },
    replenish({ oneTime }: PrekeyCounts): SignedPrekeys | undefined {
      if (oneTime > PREKEYS_LOW) return undefined
      return fromBinary(SignedPrekeysSchema, toBinary(SignedPrekeysSchema, create(SignedPrekeysSchema)))
    },
    commit(tx: DbWriter) {
      for (const [name, value] of staged) {
        const [kind, key] = name.split('\0') as [string, string]
        if (value) tx.put('keys', { kind, key, value })
        else tx.delete('keys', [kind, key])
      }
      staged.clear()
    },
  }
}
