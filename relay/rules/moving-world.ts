// For tests: several nodes of several regions, wired by links that break, and two people whose phones come and go, move
// from home to home and keep saying things. Everything is real but the phones, the links and the directory.
import { create } from '@bufbuild/protobuf'
import {
  type Cut,
  chainHash,
  checkEntry,
  compareIds,
  convIdBytes,
  countersign,
  type DeviceFrame,
  encodeItem,
  entryPosition,
  epochOf,
  type Home,
  type HomeFrame,
  hashBefore,
  ItemKind,
  isVoid,
  KIND_CONTENT,
  KIND_SKIP,
  keptOf,
  NOWHERE,
  nextPlace,
  nOf,
  openHomeRecord,
  openHostRegister,
  openManifest,
  type Position,
  positionOf,
  type Random,
  type RegionId,
  type RelayItem,
  readHeader,
  readParts,
  SubmissionSchema,
  sha256,
  type Verdict,
} from '#protocol'
import { makeRegion, type TestRegion } from '../fixtures.ts'
import { type Bench, makePair, openBench, type Pair, type Side, START_MS, type TestSession } from './bench.ts'
import type { RuleLimits } from './limits.ts'

const DAY_MS = 86_400_000
const { LOG } = ItemKind

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

export type Records = { readonly home: Home; readonly manifest: Side['manifest'] }

export class MovingWorld {
  readonly pair: Pair
  readonly regions: readonly TestRegion[]
  readonly benches = new Map<RegionId, Bench>()
  readonly phones: readonly Phone[]
  readonly dead = new Set<RegionId>()
  readonly violations: string[] = []
  readonly random: Random
  readonly #limits: Partial<RuleLimits>
  readonly #wires = new Map<string, { conv: Bench['out'][number] }[]>()
  readonly #cutWires = new Set<string>()
  readonly #versions: [number, number] = [1, 1]
  readonly #records: [Records, Records]

  constructor(random: Random, regions: readonly TestRegion[], pair: Pair, limits: Partial<RuleLimits>) {
    this.random = random
    this.regions = regions
    this.pair = pair
    this.#limits = limits
    this.#records = [pair.host, pair.other].map(({ home, manifest }) => ({ home, manifest })) as [Records, Records]
    this.phones = [new Phone(this, pair.host), new Phone(this, pair.other)]
  }

  wrong(what: string): void {
    if (!this.violations.includes(what)) this.violations.push(what)
  }

  versionOf = (member: number): number => this.#versions[member]!
  below = (n: number): number => Math.floor(this.random.fraction() * n)
  pick = <T>(list: readonly T[]): T => list[this.below(list.length)]!

  async open(): Promise<void> {
    for (const region of this.regions) {
      const options = { limits: this.#limits, signer: region }
      this.benches.set(region.regionId, await openBench(region.regionId, [this.pair.host, this.pair.other], options))
    }
    for (const a of this.regions)
      for (const b of this.regions) if (a.regionId < b.regionId) this.#link(a.regionId, b.regionId)
  }

  #key = (a: RegionId, b: RegionId): string => (a < b ? `${a} ${b}` : `${b} ${a}`)
  isCut = (a: RegionId, b: RegionId): boolean => this.#cutWires.has(this.#key(a, b))

  #link(a: RegionId, b: RegionId): void {
    if (this.dead.has(a) || this.dead.has(b)) return
    const [one, two] = [this.benches.get(a), this.benches.get(b)]
    if (!one || !two) return
    this.#cutWires.delete(this.#key(a, b))
    this.#wires.set(`${a} ${b}`, [])
    this.#wires.set(`${b} ${a}`, [])
    one.linkUp(b)
    two.linkUp(a)
  }

  mend(a: RegionId, b: RegionId): void {
    if (this.isCut(a, b)) this.#link(a, b)
  }

  cut(a: RegionId, b: RegionId): void {
    if (a === b || this.isCut(a, b)) return
    this.#cutWires.add(this.#key(a, b))
    this.#wires.set(`${a} ${b}`, [])
    this.#wires.set(`${b} ${a}`, [])
    for (const [here, there] of [
      [a, b],
      [b, a],
    ] as const) {
      this.benches.get(here)?.up.delete(there)
      this.benches.get(here)?.relay.linkDown(there)
    }
  }

  /** What left the nodes goes onto its wire, or to its phone. */
  collect(): void {
    for (const [from, bench] of this.benches) {
      for (const output of bench.out.splice(0)) {
        this.#note(output)
        if (output.to === 'region') this.#wires.get(`${from} ${output.region}`)?.push({ conv: output })
        else
          this.phones
            .find((phone) => phone.session?.port.id === output.session && phone.home === from)
            ?.inbox.push(output.frame)
      }
      for (const { code } of bench.cut.splice(0)) this.wrong(`a link was cut: ${code}`)
    }
  }

  /** The newest place that anybody was told of. */
  newest: Position = NOWHERE

  #note(output: Bench['out'][number]): void {
    const runs =
      output.to === 'device'
        ? output.frame.entries.map(({ entry }) => entry)
        : output.item.kind === LOG
          ? [output.item.value.entry]
          : []
    for (const entry of runs.flat()) if (entryPosition(entry) > this.newest) this.newest = entryPosition(entry)
  }

  async deliver(from: RegionId, to: RegionId, count: number): Promise<void> {
    const wire = this.#wires.get(`${from} ${to}`)
    const bench = this.benches.get(to)
    if (!wire?.length || !bench || this.isCut(from, to)) return
    for (const { conv: output } of wire.splice(0, count)) {
      if (output.to !== 'region') continue
      const item: RelayItem = output.item
      bench.hearRaw(from, { conv: output.conv, kind: item.kind as ItemKind, body: encodeItem(item) })
    }
    await bench.settle()
    this.collect()
  }

  async crash(region: RegionId, forGood: boolean): Promise<void> {
    const bench = this.benches.get(region)
    if (!bench) return
    for (const other of this.regions) this.cut(region, other.regionId)
    for (const phone of this.phones) if (phone.home === region) phone.session = undefined
    this.benches.delete(region)
    if (forGood) {
      this.dead.add(region)
      bench.store.abandon()
      return
    }
    this.benches.set(region, await bench.restart())
  }

  /** The account moves; old home and others may or may not hear of it. */
  async move(member: number, to: RegionId, gone = false): Promise<void> {
    const phone = this.phones[member]!
    const from = phone.home
    if (from === to) return
    const { home, manifest } = this.#records[member]!
    const version = ++this.#versions[member]!
    const signed = phone.side.person.sign({
      ...{ version, previousHash: manifest.hash, home: to, generation: home.homeGeneration + 1 },
    })
    const region = this.regions.find((r) => r.regionId === to)!
    const record = countersign(signed.head, to, region.operational, region.grant, START_MS, START_MS + DAY_MS)
    this.#records[member] = {
      home: openHomeRecord(record, START_MS),
      manifest: openManifest(signed.manifest, START_MS),
    }
    phone.disconnect()
    phone.home = to
    const bench = this.benches.get(to)!
    bench.former.set(phone.side.userId, { region: from, gone })
    await this.learn(to, member)
  }

  /** The directory tells a node where somebody lives. */
  async learn(region: RegionId, member: number): Promise<void> {
    const bench = this.benches.get(region)
    const { home, manifest } = this.#records[member]!
    if (!bench) return
    bench.manifests.set(home.userId, manifest)
    if ((bench.homes.get(home.userId)?.version ?? 0) >= home.version) return
    bench.homes.set(home.userId, home)
    bench.relay.homeChanged(home.userId)
    await bench.settle()
    this.collect()
  }

  async tick(region: RegionId, ms: number): Promise<void> {
    const bench = this.benches.get(region)
    if (!bench) return
    await bench.pass(ms)
    this.collect()
  }

  /** Everybody hears everything, again and again, until nothing is left to say. */
  async calm(rounds: number): Promise<void> {
    await this.go(rounds)
    for (const left of this.atRest().slice(0, 6)) this.wrong(`not at rest: ${left}`)
  }

  async go(rounds: number): Promise<void> {
    const ids = this.regions.map(({ regionId }) => regionId)
    for (let round = 0; round < rounds; round++) {
      for (const a of ids) for (const b of ids) if (a < b) this.mend(a, b)
      for (const id of ids) for (const member of [0, 1]) await this.learn(id, member)
      for (const phone of this.phones) {
        if (phone.session?.closed) phone.session = undefined
        phone.connect()
        if (round % 10 === 9) phone.nudge()
      }
      for (const id of ids) await this.tick(id, 100)
      for (let turn = 0; turn < 3; turn++) {
        for (const a of ids) for (const b of ids) await this.deliver(a, b, 50)
        for (const phone of this.phones) {
          while (phone.inbox.length > 0) phone.receive()
          await this.benches.get(phone.home)?.settle()
        }
        this.collect()
      }
      if (round % 10 === 9 && this.atRest().length === 0) return
    }
  }

  atRest(): string[] {
    const left: string[] = []
    const [a, b] = this.phones as [Phone, Phone]
    for (const phone of this.phones)
      for (const [k, { state }] of phone.said) if (state !== 'safe') left.push(`${phone.name} k ${k} ${state}`)
    if (a.cursor !== b.cursor) left.push(`cursors ${a.cursor} and ${b.cursor}`)
    return left
  }

  /** After `calm`: both show the same, in one order, everything once, and nothing acknowledged is missing. */
  check(): string[] {
    const [a, b] = this.phones as [Phone, Phone]
    const lines = (phone: Phone): string[] =>
      [...phone.shown]
        .sort(([, x], [, y]) => x.at - y.at)
        .map(([id, { at, tag, skip }]) => `${at} ${id} ${tag} ${skip}`)
    if (lines(a).join() !== lines(b).join()) this.wrong('the two show something else')
    if (Buffer.compare(a.hash, b.hash) !== 0) this.wrong('the two have other hashes')
    for (const phone of this.phones) {
      for (const [id, shown] of phone.shown) {
        if (shown.at === NOWHERE) this.wrong(`${phone.name}: ${id} stays unconfirmed`)
        if (!shown.skip && !id.startsWith(phone.name) && !shown.part) this.wrong(`${phone.name}: ${id} has no content`)
      }
      for (const [k, one] of phone.said) {
        const shown = phone.shown.get(`${phone.name} ${k}`)
        if (!shown)
          this.wrong(`${phone.name}: k ${k} is lost${phone.acknowledged.has(k) ? ', and was acknowledged' : ''}`)
        else if (shown.skip && !one.cancelled) this.wrong(`${phone.name}: k ${k} skipped by nobody`)
      }
    }
    return this.violations
  }
}

/** Two people with homes in the first two of some regions. */
export async function movingWorld(
  random: Random,
  options: { readonly homes?: readonly [number, number]; readonly limits?: Partial<RuleLimits> } = {},
): Promise<MovingWorld> {
  const regions = Array.from({ length: 4 }, makeRegion)
  const [h0, h1] = options.homes ?? [0, 1]
  for (;;) {
    const pair = makePair(regions[h0]!, regions[h1]!)
    if (pair.host.region !== regions[h0]!.regionId || compareIds(pair.host.userId, pair.other.userId) > 0) continue
    const world = new MovingWorld(random, regions, pair, options.limits ?? {})
    await world.open()
    return world
  }
}
