// One device with one conversation: names it, keeps its place in the log, acknowledges, pulls what it is behind.
// Whatever a relay may not do (a gap, a repetition, a part that is not the right one) is counted as a fault.
import { create } from '@bufbuild/protobuf'
import {
  compareIds,
  convIdBytes,
  DeviceFrameSchema,
  directConvId,
  directGenesis,
  encodeDeviceFrame,
  ParleyError,
  systemClock,
} from '#protocol'
import {
  bodyBytes,
  bodyK,
  type DeviceFrameWriter,
  deviceFrameWriter,
  entryEpoch,
  entryK,
  entryMember,
  entryN,
  type HomeFrameHandlers,
  type Place,
  pingFrame,
  pullFrame,
  readHomeFrame,
} from './codec.ts'
import { FOLLOWED_MS, PULL_BYTES, SUBMISSION_BYTES_A_FRAME, SUBMISSIONS_A_FRAME } from './limits.ts'
import type { Person } from './person.ts'
import { signIn } from './session.ts'
import type { LeanWebSocket } from './web-socket.ts'

export type DeviceTells = {
  /** The home says that every k up to this one has its number. */
  sequenced(k: number): void
  /** The peer's messages up to k are here. */
  received(k: number): void
  /** After each frame, when everything in it was told. */
  frameDone(): void
  /** Every member region has everything up to k. */
  safe(k: number): void
  /** A verdict that is none of those: the number of its field (held 5, past 6, behind 7, wait 9 …). */
  verdict(field: number, k: number): void
  /** A page came; `atHead`: the last one that was missing. */
  page(atHead: boolean): void
  fault(what: string): void
  lost(reason: string): void
}

const SAFE = 8

export class LoadDevice {
  readonly person: Person
  readonly #peer: Person
  readonly #tells: DeviceTells
  readonly #writer: DeviceFrameWriter
  readonly #handlers: HomeFrameHandlers
  /** Member number of this device's person: 0 for the smaller id. */
  readonly #member: number
  readonly #bodyBytes: number
  readonly place: Place = { epoch: 0, n: 0 }
  #acknowledged = 0
  #soon = false
  #rewinding = false
  #socket: LeanWebSocket | undefined
  #pings = 0
  readonly #pongs = new Map<number, { resolve(): void; reject(error: Error): void }>()

  constructor(person: Person, peer: Person, body: Uint8Array, tells: DeviceTells) {
    this.person = person
    this.#peer = peer
    this.#tells = tells
    this.#bodyBytes = body.length
    this.#member = compareIds(person.userId, peer.userId) < 0 ? 0 : 1
    this.#writer = deviceFrameWriter(1 - this.#member, body)
    this.#handlers = this.#handlersOf()
  }

  /** `ready` is called when the home has taken the sign-in, before anything else comes. */
  async connect(ready: () => void = () => {}): Promise<void> {
    await signIn(this.person, {
      opened: (socket) => {
        this.#socket = socket
        ready()
        this.#name()
      },
      message: (bytes, from, to) => this.#frame(bytes, from, to),
      closed: (reason) => {
        this.#socket = undefined
        this.#tells.lost(reason)
        for (const { reject } of this.#pongs.values()) reject(new ParleyError('unreachable', reason))
        this.#pongs.clear()
      },
    })
    await this.ping()
  }

  #name(): void {
    const [me, other] = [this.person.userId, this.#peer.userId]
    const homeRecords = [this.person.homeRecord, this.#peer.homeRecord]
    const [convId, genesis] = [convIdBytes(directConvId(me, other)), directGenesis(me, other)]
    const names = [{ ref: 1, convId, genesis, homeRecords }]
    this.#socket?.send(encodeDeviceFrame(create(DeviceFrameSchema, { names })))
    this.#socket?.flush()
  }

  disconnect(): void {
    this.#socket?.close()
    this.#socket = undefined
  }

  /** Stays connected and reads nothing more. */
  stall(): void {
    this.#socket?.stall()
  }

  /** Is gone, without a word. */
  destroy(): void {
    this.#socket?.destroy()
    this.#socket = undefined
  }

  /** Bytes that its socket has not taken yet. */
  backlog(): number {
    return this.#socket?.backlog() ?? Number.POSITIVE_INFINITY
  }

  /** Resolves when everything that was said before is committed. */
  ping(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#pongs.set(++this.#pings, { resolve, reject })
    this.#socket?.send(pingFrame(this.#pings))
    this.#socket?.flush()
    return promise
  }

  /** Submissions of k from..to, with the acknowledgement that is due; one frame, unless a stall has left too many for one. */
  submit(from: number, to: number): void {
    const most = Math.min(SUBMISSIONS_A_FRAME, Math.floor(SUBMISSION_BYTES_A_FRAME / this.#bodyBytes))
    for (let k = from; k <= to; k += most) this.#say(k, Math.min(to, k + most - 1))
  }

  /** Says how far this device has the log, if it has not said so yet. */
  acknowledge(): void {
    if (this.place.n !== this.#acknowledged) this.#say(1, 0)
  }

  /** Nobody waits for what an author knows of its own messages: it rides on the next frame, as that of any client does. */
  acknowledgeSoon(): void {
    if (this.#soon || this.place.n === this.#acknowledged) return
    this.#soon = true
    systemClock.after(FOLLOWED_MS, () => {
      this.#soon = false
      this.acknowledge()
    })
  }

  #say(from: number, to: number): void {
    const socket = this.#socket
    if (!socket) return
    const due = this.place.n !== this.#acknowledged
    socket.send(this.#writer.write(from, to, due ? this.place : undefined))
    socket.flush()
    this.#acknowledged = this.place.n
  }

  #frame(bytes: Uint8Array, from: number, to: number): void {
    try {
      readHomeFrame(bytes, from, to, this.#handlers)
    } catch (error) {
      this.#tells.fault(String(error))
    }
    this.#tells.frameDone()
  }

  #entry(bytes: Uint8Array, from: number, to: number): void {
    const { place } = this
    const epoch = entryEpoch(bytes, from)
    const n = entryN(bytes, from)
    if (n !== (epoch === place.epoch ? place.n + 1 : 1)) {
      if (this.#rewinding) return
      this.#tells.fault(`entry ${epoch}.${n} after ${place.epoch}.${place.n}`)
      this.#rewind()
      return
    }
    place.epoch = epoch
    place.n = n
    this.#rewinding = false
    if (entryMember(bytes, from) === this.#member) return
    const k = entryK(bytes, from)
    if (bodyBytes(bytes, from, to) !== this.#bodyBytes || bodyK(bytes, from) !== k) {
      this.#tells.fault(`entry ${epoch}.${n} brings another body than it should`)
    }
    this.#tells.received(k)
  }

  /** Asks the home to go on from this device's place; what comes before it does is passed over. */
  #rewind(): void {
    this.#rewinding = true
    const cursors = [{ conv: 1, epoch: this.place.epoch, n: this.place.n, rewind: true }]
    this.#socket?.send(encodeDeviceFrame(create(DeviceFrameSchema, { cursors })))
    this.#socket?.flush()
  }

  #ponged(upTo: number): void {
    for (const [ping, { resolve }] of this.#pongs) {
      if (ping > upTo) continue
      this.#pongs.delete(ping)
      resolve()
    }
  }

  #handlersOf(): HomeFrameHandlers {
    const tells = this.#tells
    const pull = (): void => {
      this.#socket?.send(pullFrame(this.place, PULL_BYTES))
      this.#socket?.flush()
      this.#acknowledged = this.place.n
    }
    return {
      sequenced: (k) => tells.sequenced(k),
      verdict: (field, k) => {
        if (field === SAFE) tells.safe(k)
        else tells.verdict(field, k)
      },
      entry: (bytes, from, to) => this.#entry(bytes, from, to),
      run: (page, _headEpoch, headN) => {
        if (!page) return
        const atHead = this.place.n >= headN
        if (!atHead) pull()
        tells.page(atHead)
      },
      behind: pull,
      pong: (upTo) => this.#ponged(upTo),
      refused: () => tells.fault('the home ended the session'),
    }
  }
}
