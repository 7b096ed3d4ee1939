import {
  compareIds,
  countersign,
  encodeItem,
  entryPosition,
  type Home,
  ItemKind,
  NOWHERE,
  openHomeRecord,
  openManifest,
  type Position,
  type Random,
  type RegionId,
  type RelayItem,
} from '#protocol'
import { makeRegion, type TestRegion } from '../fixtures.ts'
import { type Bench, makePair, openBench, type Pair, type Side, START_MS } from './bench.ts'
import type { RuleLimits } from './limits.ts'
import { Phone } from './moving-phone.ts'

const DAY_MS = 86_400_000
const { LOG } = ItemKind

export type Records = { readonly home: Home; readonly manifest: Side['manifest'] }

export class MovingWorld {
  readonly pair: Pair
  readonly regions: readonly TestRegion[]
  readonly benches = new Map<RegionId, Bench>()
  readonly phones: readonly Phone[]
  readonly dead = new Set<RegionId>()
  /** Given up though they live: what they had is lost only because nobody hears of it before all others are at rest. */
  readonly exiled = new Set<RegionId>()
  readonly violations: string[] = []
  readonly random: Random
  readonly #limits: Partial<RuleLimits>
  readonly #wires = new Map<string, { conv: Bench['out'][number] }[]>()
  readonly #cutWires = new Set<string>()
  readonly #versions: [number, number] = [1, 1]
  /** Where each lived before: these believe themselves, and no directory. */
  readonly #left: readonly [Set<RegionId>, Set<RegionId>] = [new Set(), new Set()]
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
    if (this.isCut(a, b) && !this.exiled.has(a) && !this.exiled.has(b)) this.#link(a, b)
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
    this.#left[member]!.add(from).delete(to)
    const bench = this.benches.get(to)!
    bench.former.set(phone.side.userId, { region: from, gone, generation: home.homeGeneration })
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

  /** Everybody hears everything, former homes from new ones only, again and again, until nothing is left to say. */
  async calm(rounds: number): Promise<void> {
    await this.go(rounds)
    if (this.exiled.size > 0 && this.atRest().length === 0) {
      this.exiled.clear()
      await this.go(rounds)
    }
    for (const left of this.atRest().slice(0, 6)) this.wrong(`not at rest: ${left}`)
  }

  async go(rounds: number): Promise<void> {
    const ids = this.regions.map(({ regionId }) => regionId)
    for (let round = 0; round < rounds; round++) {
      for (const a of ids) for (const b of ids) if (a < b) this.mend(a, b)
      for (const id of ids) for (const member of [0, 1]) if (!this.#left[member]!.has(id)) await this.learn(id, member)
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
