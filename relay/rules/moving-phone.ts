// For tests: a device as the protocol's table has it, without ciphers. It notes what must not happen.
import { create } from '@bufbuild/protobuf'
import {
  type Cut,
  chainHash,
  checkEntry,
  convIdBytes,
  type DeviceFrame,
  entryPosition,
  epochOf,
  type HomeFrame,
  hashBefore,
  isVoid,
  KIND_CONTENT,
  KIND_SKIP,
  keptOf,
  NOWHERE,
  nextPlace,
  nOf,
  openHostRegister,
  type Position,
  positionOf,
  type RegionId,
  readHeader,
  readParts,
  SubmissionSchema,
  sha256,
  type Verdict,
} from '#protocol'
import { type Side, START_MS, type TestSession } from './bench.ts'
import type { MovingWorld } from './moving-world.ts'

type Said = {
  readonly tag: Uint8Array
  readonly skipTag: Uint8Array
  state: 'open' | 'sequenced' | 'safe'
  cancelled: boolean
  rev: number
  at: Position
  stands: 'content' | 'skip' | undefined
}
type Shown = { at: Position; readonly tag: string; readonly skip: boolean; part: boolean }

/** A device as the protocol's table has it, without ciphers. */
export class Phone {
  readonly world: MovingWorld
  readonly side: Side
  home: RegionId
  session: TestSession | undefined
  readonly said = new Map<number, Said>()
  readonly shown = new Map<string, Shown>()
  readonly acknowledged = new Set<number>()
  cursor: Position = NOWHERE
  hash: Uint8Array
  cuts: Cut[] = []
  safe = 0
  backs = 0
  readonly inbox: HomeFrame[] = []
  #sessions = 0

  constructor(world: MovingWorld, side: Side) {
    this.world = world
    this.side = side
    this.home = side.region
    this.hash = convIdBytes(world.pair.id)
  }

  /** It does not know that there is a conversation until it hears of it. */
  isStranger = false

  get name(): string {
    return `m${this.side.member}`
  }

  say(): void {
    const k = this.said.size + 1
    const tagFor = (kind: number): Uint8Array => sha256(Buffer.from(`${this.name} ${k} ${kind}`)).slice(0, 8)
    this.said.set(k, {
      ...{ tag: tagFor(KIND_CONTENT), skipTag: tagFor(KIND_SKIP), state: 'open', cancelled: false, rev: 0 },
      ...{ at: NOWHERE, stands: undefined },
    })
    this.#submit([k])
  }

  cancel(k: number): void {
    const one = this.said.get(k)
    if (one?.state !== 'open') return
    one.cancelled = true
    this.#submit([k])
  }

  connect(): void {
    const bench = this.world.benches.get(this.home)
    if (!bench || this.session) return
    this.inbox.length = 0
    this.session = bench.session(this.side, `${this.name}.${++this.#sessions}`)
    if (!this.isStranger) this.#greet()
  }

  #greet(): void {
    this.isStranger = false
    const names = [
      { ref: 1, convId: convIdBytes(this.world.pair.id), genesis: this.world.pair.genesis, homeRecords: [] },
    ]
    const cursors = [{ conv: 1, epoch: epochOf(this.cursor), n: nOf(this.cursor), rewind: false }]
    this.#send({ names, cursors } as never)
    this.#submit(this.#notSafe())
  }

  disconnect(): void {
    const { session } = this
    this.session = undefined
    if (session) this.world.benches.get(this.home)?.relay.closeSession(session.port.id)
  }

  #notSafe(): number[] {
    return [...this.said].filter(([, one]) => one.state !== 'safe').map(([k]) => k)
  }

  #send(frame: Partial<DeviceFrame>): void {
    if (this.session && !this.session.closed) this.session.frame(frame)
  }

  #submit(ks: readonly number[]): void {
    const { pair } = this.world
    const submissions = ks.map((k) => {
      const one = this.said.get(k)!
      const skip = one.stands ? one.stands === 'skip' : one.cancelled
      const parts = [pair.host, pair.other]
        .filter(({ member }) => member !== this.side.member)
        .map(({ member }) => ({ member, device: 1, body: Buffer.from(`${this.name} ${k}`) }))
      return create(SubmissionSchema, {
        conv: 1,
        k,
        tag: skip ? one.skipTag : one.tag,
        rev: one.rev + (skip ? 1 : 0),
        kind: skip ? KIND_SKIP : KIND_CONTENT,
        encryptedFor: [0, 1].map((member) => ({ member, rootEpoch: 1, version: this.world.versionOf(member) })),
        parts: skip ? [] : parts,
      })
    })
    if (submissions.length > 0) this.#send({ submissions } as never)
  }

  /** From time to time: whatever may have got lost between here and the home. */
  nudge(): void {
    if (!this.session) return
    if (this.session.closed) {
      this.session = undefined
      return
    }
    this.#submit(this.#notSafe())
  }

  receive(): void {
    const frame = this.inbox.shift()
    if (!frame) return
    if (this.isStranger && frame.names.length > 0) this.#greet()
    for (const { registers } of frame.moves)
      for (const record of registers) this.#move(openHostRegister(record, START_MS))
    for (const verdict of frame.verdicts) this.#verdict(verdict)
    for (const run of frame.entries) {
      const before = this.cursor
      this.#entries(run.entry)
      if (run.page && this.cursor > before && this.cursor < positionOf(run.headEpoch, run.headN)) this.#pull()
    }
    if (frame.behind.length > 0) this.#pull()
  }

  #move(register: ReturnType<typeof openHostRegister>): void {
    if (register.epoch <= (this.cuts.at(-1)?.epoch ?? 1)) return
    this.cuts.push(register)
    const kept = keptOf(this.cursor, this.cuts)
    if (kept !== this.cursor) {
      this.cursor = kept
      this.hash = register.cutHash
      this.backs++
    } else if (kept === register.cut && kept !== NOWHERE && Buffer.compare(this.hash, register.cutHash) !== 0) {
      this.world.wrong(`${this.name} moves with another history`)
    }
    for (const shown of this.shown.values()) if (isVoid(shown.at, this.cuts)) shown.at = NOWHERE
    for (const [k, one] of this.said) {
      if (one.state === 'open' || !isVoid(one.at, this.cuts)) continue
      if (one.state === 'safe') this.world.wrong(`${this.name}: k ${k} was safe and is void`)
      this.safe = Math.min(this.safe, k - 1)
      Object.assign(one, { state: 'open', at: NOWHERE, stands: undefined })
    }
    this.#submit(this.#notSafe())
  }

  #verdict(verdict: Verdict): void {
    const { outcome, k } = verdict
    const one = this.said.get(k)
    if (outcome.case === 'held') this.acknowledged.add(k)
    if (outcome.case === 'sequenced') {
      const at = positionOf(outcome.value.epoch, outcome.value.n)
      if (!isVoid(at, this.cuts)) this.#numbered(k, at, verdict.tag)
    }
    if (outcome.case === 'safe') {
      this.safe = Math.max(this.safe, k)
      for (const [other, said] of this.said) if (other <= k && said.state === 'sequenced') said.state = 'safe'
    }
    if (outcome.case === 'behind') {
      const from = Math.min(k, ...this.#notSafe())
      this.#submit(this.#notSafe().filter((other) => other >= from))
    }
    if (outcome.case === 'final') this.world.wrong(`${this.name}: k ${k} refused: ${outcome.value.code}`)
    if (outcome.case === 'stale' && one && one.state === 'open' && verdict.rev >= one.rev && !one.cancelled) {
      const again = [...this.said].filter(([other, said]) => other >= k && said.state === 'open')
      for (const [, said] of again) said.rev++
      this.#submit(again.map(([other]) => other))
    }
  }

  #numbered(k: number, at: Position, tag: Uint8Array): void {
    const one = this.said.get(k)
    const stands = one && Buffer.compare(tag, one.tag) === 0 ? 'content' : 'skip'
    if (!one || (stands === 'skip' && Buffer.compare(tag, one.skipTag) !== 0)) {
      this.world.wrong(`${this.name}: k ${k} numbered with a foreign tag`)
      return
    }
    this.acknowledged.add(k)
    if (one.state !== 'open' && one.at !== at) this.world.wrong(`${this.name}: own k ${k} at ${one.at} and ${at}`)
    if (one.state === 'open') Object.assign(one, { state: k <= this.safe ? 'safe' : 'sequenced', at, stands })
  }

  #pull(): void {
    const { cursor } = this
    this.#send({ pulls: [{ conv: 1, epoch: epochOf(cursor), n: nOf(cursor), maxBytes: 2_000 }] } as never)
  }

  #entries(entries: readonly Uint8Array[]): void {
    let gap = false
    for (const entry of entries) {
      checkEntry(entry)
      const at = entryPosition(entry)
      if (at <= this.cursor) continue
      const next = nextPlace(this.cursor, this.cuts)
      if (at !== next) {
        gap = true
        break
      }
      this.hash = chainHash(hashBefore(this.cursor, this.hash, this.cuts), entry)
      this.cursor = at
      this.#show(entry)
    }
    const { cursor } = this
    this.#send({ cursors: [{ conv: 1, epoch: epochOf(cursor), n: nOf(cursor), rewind: gap }] } as never)
  }

  #show(entry: Uint8Array): void {
    const { at, member, k, tag, kind } = readHeader(entry)
    const id = `m${member} ${k}`
    const text = Buffer.from(tag).toString('hex')
    const before = this.shown.get(id)
    if (before && before.at !== NOWHERE) this.world.wrong(`${this.name}: ${id} shown at ${before.at} and ${at}`)
    const part = readParts(entry).length > 0 || before?.part === true
    this.shown.set(id, { at, tag: text, skip: kind === KIND_SKIP, part })
    if (member === this.side.member) this.#numbered(k, at, tag)
  }
}
