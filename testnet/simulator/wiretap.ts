// Listens to what a device and its home say to each other, with the small numbers of the session resolved: what the
// checkers judge. `told` is heard when the home lets it out, `sent` when the device does.
import {
  type ConvId,
  convIdOf,
  type DeviceFrame,
  type HomeFrame,
  openHostRegister,
  positionOf,
  type RegionId,
  readHeader,
  type UserId,
} from '#protocol'
import { START_MS } from './cast.ts'
import type { Moved, Sent, Told } from './checkers/types.ts'

export class Wiretap {
  readonly #user: UserId
  readonly #home: RegionId
  readonly #mine = new Map<number, ConvId>()
  readonly #theirs = new Map<number, ConvId>()

  constructor(user: UserId, home: RegionId) {
    this.#user = user
    this.#home = home
  }

  *up(frame: DeviceFrame): Generator<Sent> {
    for (const { ref, convId } of frame.names) this.#mine.set(ref, convIdOf(convId))
    for (const { conv: ref, k, rev, kind, tag, parts } of frame.submissions) {
      const body = Buffer.concat(parts.map((part) => part.body)).toString('latin1')
      yield { what: 'submission', user: this.#user, conv: this.#mine.get(ref)!, k, rev, kind, tag: hex(tag), body }
    }
    for (const { conv: ref, epoch, n, rewind } of frame.cursors) {
      const at = epoch === 0 ? 0 : positionOf(epoch, n)
      yield { what: 'cursor', user: this.#user, conv: this.#mine.get(ref)!, at, rewind }
    }
    for (const { conv: ref, epoch, n } of frame.pulls) {
      const at = epoch === 0 ? 0 : positionOf(epoch, n)
      yield { what: 'cursor', user: this.#user, conv: this.#mine.get(ref)!, at, rewind: false }
    }
  }

  /** `deposedAt`: of the node that lets it out, when it no longer owns its disk. */
  *down(frame: HomeFrame, deposedAt: number | undefined): Generator<Told> {
    for (const { ref, convId } of frame.names) this.#theirs.set(ref, convIdOf(convId))
    for (const verdict of this.verdicts(frame)) yield { ...verdict, deposedAt }
    for (const { conv: ref, entry } of frame.entries) {
      const conv = this.#theirs.get(ref)!
      for (const bytes of entry) {
        const { at, k, member, tag } = readHeader(bytes)
        yield { what: 'entry', home: this.#home, user: this.#user, conv, k, at, member, tag: hex(tag), deposedAt }
      }
    }
  }

  *moves(frame: HomeFrame): Generator<Moved> {
    for (const { registers } of frame.moves) {
      for (const record of registers) {
        const { convId, epoch, host, cut, cutHash, payload } = openHostRegister(record, START_MS)
        yield { conv: convId, epoch, host, cut, cutHash, payload }
      }
    }
  }

  *verdicts(frame: HomeFrame): Generator<Told> {
    for (const { conv: ref, k, outcome, tag } of frame.verdicts) {
      const common = { home: this.#home, user: this.#user, conv: this.#mine.get(ref)!, k, deposedAt: undefined }
      if (outcome.case === 'sequenced') {
        const { epoch, n } = outcome.value
        yield { ...common, what: 'sequenced', at: positionOf(epoch, n), tag: hex(tag) }
      } else if (outcome.case) yield { ...common, what: outcome.case, at: 0, tag: hex(tag) }
    }
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
