// The links between the nodes of a simulated network. A link is a stream in each direction and has two ends, which
// learn at moments of their own that it is up, or that it has broken. The owner of a disk has the key that lies on it:
// for others a standby that took over is the same peer after a restart, and whichever of the two linked last counts.
import { type Clock, decodeItem, ItemKind, type ParleyError, type Random, type RegionId } from '#protocol'
import type { Item, LinkPort } from '#relay/rules'
import type { Between } from './checkers/index.ts'
import { openWire, type Wire, type WireFaults } from './network.ts'
import { ROUNDING_MS } from './node-clock.ts'
import type { SimRegionNodes } from './region.ts'
import type { RelayNode } from './relay-node.ts'
import type { Trace } from './trace.ts'

/** An end that heard nothing for this long takes the link for broken, ms: a tiny heartbeat. */
const SILENCE_MS = 700
const NOTICED_WITHIN_MS = 60
const CONNECT_MS = 40
const AGAIN_MS = 100

/** One node's side of a link. */
type End = {
  readonly node: RelayNode
  readonly link: Link
  readonly out: Wire<Item[]>
  up: boolean
  /** Bytes that the other side has not consumed. */
  queued: number
  batch: Item[]
}
type Link = { ends: [End, End]; broken: boolean }

export type LinksOptions = {
  readonly clock: Clock
  readonly random: Random
  readonly regions: ReadonlyMap<RegionId, SimRegionNodes>
  readonly trace: Trace
  readonly count: (what: string) => void
  readonly failed: (what: string) => void
  /** Whether checkers want to hear of items of this kind. */
  readonly judged: (kind: number) => boolean
  /** Heard when an item leaves. */
  readonly between: (between: Between) => void
}

export class WorldLinks {
  readonly #options: LinksOptions
  readonly #ends = new Map<RelayNode, Map<RegionId, End[]>>()
  readonly #links = new Set<Link>()
  /** `<from> <to>`: nothing passes before then, monotonic ms. */
  readonly #blocked = new Map<string, number>()
  readonly #trying = new Set<string>()
  /** The most that ever waited on a link, bytes. */
  backlogMost = 0

  constructor(options: LinksOptions) {
    this.#options = options
  }

  portOf(node: () => RelayNode): LinkPort {
    const first = (region: RegionId): End | undefined => this.#ends.get(node())?.get(region)?.[0]
    return {
      send: (to, item) => {
        const end = first(to)
        if (end) this.#send(end, to, item)
      },
      flush: () => {},
      isUp: (to) => first(to) !== undefined,
      backlog: (to) => first(to)?.queued ?? 0,
      want: () => {},
      close: (to, reason) => this.#refused(node(), to, reason),
    }
  }

  isUp(from: RelayNode, to: RegionId): boolean {
    return (this.#ends.get(from)?.get(to)?.length ?? 0) > 0
  }

  #send(end: End, to: RegionId, item: Item): void {
    const { judged, between, clock } = this.#options
    const { node } = end
    if (judged(item.kind)) {
      const said = decodeItem(item.kind, item.body)
      between({ from: node.region, to, conv: item.conv, item: said, deposedAt: node.deposedAt })
      if (said.kind === ItemKind.LOG_STATE && said.value.gap) this.#options.count('item log_state with a gap')
    }
    end.queued += item.body.length
    if (end.queued > this.backlogMost) this.backlogMost = end.queued
    end.batch.push(item)
    if (end.batch.length > 1) return
    // What is sent in the same moment goes as one batch.
    clock.after(0, () => {
      const items = end.batch
      end.batch = []
      end.out.send(items)
    })
  }

  #isBlocked(from: RegionId, to: RegionId): boolean {
    return (this.#blocked.get(`${from} ${to}`) ?? 0) > this.#options.clock.monotonic() + ROUNDING_MS
  }

  /** Every node of one region to every node of the other, where nothing is in the way. */
  connect(a: RegionId, b: RegionId): void {
    const { regions } = this.#options
    if (this.#isBlocked(a, b) || this.#isBlocked(b, a)) return
    let again = false
    for (const one of regions.get(a)!.nodes) {
      for (const other of regions.get(b)!.nodes) {
        if (!one.isUp || !other.isUp) continue
        if (one.clock.isPaused || other.clock.isPaused) again = true
        else this.#open(one, other)
      }
    }
    const name = `${a} ${b}`
    if (!again || this.#trying.has(name)) return
    this.#trying.add(name)
    this.#options.clock.after(AGAIN_MS, () => {
      this.#trying.delete(name)
      this.connect(a, b)
    })
  }

  /** A little later, and again whenever a pair that could be linked is not. */
  connectSoon(a: RegionId, b: RegionId, inMs = 0): void {
    const { clock, random } = this.#options
    clock.after(inMs + CONNECT_MS * random.fraction(), () => this.connect(a, b))
  }

  connectAll(): void {
    const regions = [...this.#options.regions.keys()]
    for (const a of regions) for (const b of regions) if (a < b) this.connect(a, b)
  }

  #open(one: RelayNode, other: RelayNode): void {
    const { random, trace, count } = this.#options
    const between = [...this.#links].filter(
      ({ ends: [x, y] }) => (x.node === one && y.node === other) || (x.node === other && y.node === one),
    )
    if (between.some(({ broken }) => !broken)) return
    // An end that has not noticed yet that the old one broke learns it from the new one.
    for (const { ends } of between) for (const end of ends) this.#down(end)
    const faults: WireFaults = { latencyMs: [1, 2 + 60 * random.fraction()] }
    const link = { broken: false } as Link
    const endOf = (node: RelayNode, peer: RelayNode): End => {
      const end: End = {
        ...{ node, link, up: false, queued: 0, batch: [] },
        out: openWire(peer.clock, random, faults, (items) => this.#deliver(end, items)),
      }
      return end
    }
    link.ends = [endOf(one, other), endOf(other, one)]
    this.#links.add(link)
    trace.note('link up', () => `link ${one.name}-${other.name} up`)
    count('link up')
    for (const end of link.ends) end.node.clock.run(() => this.#up(end))
  }

  #peer(end: End): RelayNode {
    const [one, other] = end.link.ends
    return end === one ? other.node : one.node
  }

  #up(end: End): void {
    if (end.link.broken || end.node.isDead) return
    const { region } = this.#peer(end)
    const byRegion = this.#ends.get(end.node) ?? new Map<RegionId, End[]>()
    this.#ends.set(end.node, byRegion)
    const ends = byRegion.get(region) ?? []
    byRegion.set(region, ends)
    for (const replaced of [...ends]) {
      this.#options.count('link replaced')
      this.#break(replaced.link)
      this.#down(replaced)
    }
    end.up = true
    ends.push(end)
    end.node.call((relay) => relay.linkUp(region))
  }

  /** This end has noticed that the link is gone. */
  #down(end: End): void {
    const [one, other] = end.link.ends
    // What is still on its way to it will not be taken.
    ;(end === one ? other : one).out.cut()
    if (!one.up && !other.up) this.#links.delete(end.link)
    if (!end.up) return
    end.up = false
    if (!one.up && !other.up) this.#links.delete(end.link)
    const { region } = this.#peer(end)
    const ends = this.#ends.get(end.node)?.get(region) ?? []
    ends.splice(ends.indexOf(end), 1)
    if (!end.node.isDead) end.node.call((relay) => relay.linkDown(region))
  }

  #deliver(from: End, items: Item[]): void {
    const { trace, count } = this.#options
    const node = this.#peer(from)
    let bytes = 0
    for (const item of items) {
      bytes += item.body.length
      count(KINDS[item.kind]!)
    }
    from.queued = Math.max(0, from.queued - bytes)
    trace.note(
      'items',
      () =>
        `${from.node.name} -> ${node.name} ${items.map((i) => `${KINDS[i.kind]!.slice(5)}:${i.body.length}`).join(' ')}`,
      items.length,
      bytes,
      items[0]!.kind,
    )
    node.call((relay) => relay.items(from.node.region, items))
  }

  /** Both ends learn of it, each in its own time; a node that died knows nothing any more. */
  #break(link: Link): void {
    if (link.broken) return
    link.broken = true
    const { clock, random } = this.#options
    for (const end of link.ends) {
      end.out.breaks()
      if (end.node.isDead) this.#down(end)
      else clock.after(NOTICED_WITHIN_MS * random.fraction(), () => end.node.clock.run(() => this.#down(end)))
    }
    const [one, other] = link.ends
    this.connectSoon(one.node.region, other.node.region, NOTICED_WITHIN_MS / 2)
  }

  #between(a: RegionId, b: RegionId): Link[] {
    return [...this.#links].filter(({ ends: [x, y] }) =>
      x.node.region === a ? y.node.region === b : x.node.region === b && y.node.region === a,
    )
  }

  /** The links of a node that has died break. */
  nodeDied(node: RelayNode): void {
    for (const link of [...this.#links]) if (link.ends.some((end) => end.node === node)) this.#break(link)
    this.#ends.delete(node)
  }

  /** The links between two regions break and stay away. False when there was none. */
  cut(a: RegionId, b: RegionId, forMs: number): boolean {
    const { clock, trace, count } = this.#options
    this.#block(a, b, forMs)
    this.#block(b, a, forMs)
    this.connectSoon(a, b, forMs)
    const links = this.#between(a, b).filter(({ broken }) => !broken)
    for (const link of links) this.#break(link)
    trace.note('cut', () => `link down for ${forMs.toFixed(0)}`, links.length, clock.monotonic())
    if (links.length > 0) count('link down')
    return links.length > 0
  }

  #block(from: RegionId, to: RegionId, ms: number): void {
    const name = `${from} ${to}`
    this.#blocked.set(name, Math.max(this.#blocked.get(name) ?? 0, this.#options.clock.monotonic() + ms))
  }

  /** Nothing moves in one direction; if that lasts, the link counts as broken. */
  stall(from: RegionId, to: RegionId, ms: number): boolean {
    const { clock } = this.#options
    const links = this.#between(from, to).filter(({ broken }) => !broken)
    for (const link of links) {
      for (const end of link.ends) if (end.node.region === from) end.out.stall(ms)
      if (ms > SILENCE_MS) clock.after(SILENCE_MS, () => this.#break(link))
    }
    this.#block(from, to, ms)
    this.connectSoon(from, to, ms)
    return links.length > 0
  }

  /** A relay cut the link because of what the other said: between honest relays only what was lost before excuses it. */
  #refused(node: RelayNode, to: RegionId, reason: ParleyError): void {
    const { trace, count, failed, regions } = this.#options
    const other = regions.get(to)!.is.name
    trace.note('refuses', () => `${node.name} refuses ${other}: ${reason.code} ${reason.message}`)
    count(`link refused ${reason.code}`)
    // Whoever was deposed does not know what its successor has said.
    const isExcused = reason.code === 'unknown_conversation' || node.deposedAt !== undefined
    if (!isExcused) failed(`${node.name} cut ${other}: ${reason.code} ${reason.message}`)
    for (const end of [...(this.#ends.get(node)?.get(to) ?? [])]) {
      this.#break(end.link)
      this.#down(end)
    }
  }

  heal(): void {
    this.#blocked.clear()
    this.connectAll()
  }
}

const KINDS: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(ItemKind).flatMap(([name, kind]) =>
    typeof kind === 'number' ? [[kind, `item ${name.toLowerCase()}`]] : [],
  ),
)
