// The links between the regions of a simulated network.
import { type Clock, decodeItem, ItemKind, type ParleyError, type Random, type RegionId } from '#protocol'
import type { Item } from '#relay/rules'
import type { Between } from './checkers/index.ts'
import { openWire, type Wire, type WireFaults } from './network.ts'
import type { RelayNode } from './relay-node.ts'

type Link = { up: boolean; downUntil: number; wires: Map<RegionId, Wire<Item[]>>; queued: Map<RegionId, number> }

export type LinksOptions = {
  readonly clock: Clock
  readonly random: Random
  readonly relays: ReadonlyMap<RegionId, RelayNode>
  readonly nameOf: (region: RegionId) => string
  readonly trace: (line: string) => void
  readonly count: (what: string) => void
  readonly failed: (what: string) => void
  /** Heard when an item leaves. */
  readonly between: (between: Between) => void
}

export class WorldLinks {
  readonly #options: LinksOptions
  readonly #links = new Map<string, Link>()
  #faulty = true

  constructor(options: LinksOptions) {
    this.#options = options
  }

  #link(a: RegionId, b: RegionId): Link {
    const name = a < b ? `${a} ${b}` : `${b} ${a}`
    let link = this.#links.get(name)
    if (!link) {
      link = { up: false, downUntil: 0, wires: new Map(), queued: new Map() }
      this.#links.set(name, link)
    }
    return link
  }

  isUp(from: RegionId, to: RegionId): boolean {
    return this.#link(from, to).up
  }

  backlog(from: RegionId, to: RegionId): number {
    return this.#link(from, to).queued.get(to) ?? 0
  }

  send(from: RegionId, to: RegionId, item: Item): void {
    const link = this.#link(from, to)
    if (!link.up) return
    this.#options.between({ from, to, conv: item.conv, item: decodeItem(item.kind, item.body) })
    link.queued.set(to, (link.queued.get(to) ?? 0) + item.body.length)
    link.wires.get(to)!.send([item])
  }

  /** Unless one of the two is down, or the link is to stay down for a while. */
  up(a: RegionId, b: RegionId): void {
    const { clock, random, relays, nameOf, trace, count } = this.#options
    const link = this.#link(a, b)
    const [ra, rb] = [relays.get(a)!, relays.get(b)!]
    if (link.up || !ra.isUp || !rb.isUp || (this.#faulty && link.downUntil > clock.monotonic())) return
    link.up = true
    const faults: WireFaults = {
      latencyMs: [1, 2 + 80 * random.fraction()],
      duplicate: this.#faulty ? 0.02 : 0,
      reorder: this.#faulty && random.fraction() < 0.5 ? 0.05 : 0,
    }
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      link.queued.set(to, 0)
      const { clock: theirs } = relays.get(to)!
      link.wires.set(
        to,
        openWire(theirs, random, faults, (items) => this.#deliver(link, from, to, items)),
      )
    }
    trace(`link ${nameOf(a)}-${nameOf(b)} up`)
    count('link up')
    for (const [one, other] of [
      [ra, b],
      [rb, a],
    ] as const)
      one.clock.run(() => {
        if (link.up) one.relay?.linkUp(other)
      })
  }

  #deliver(link: Link, from: RegionId, to: RegionId, items: Item[]): void {
    const { relays, nameOf, trace, count } = this.#options
    for (const item of items) {
      link.queued.set(to, Math.max(0, (link.queued.get(to) ?? 0) - item.body.length))
      count(`item ${KINDS[item.kind]}`)
      const said = item.kind === ItemKind.LOG_STATE ? decodeItem(item.kind, item.body) : undefined
      if (said?.kind === ItemKind.LOG_STATE && said.value.gap) count('item log_state with a gap')
    }
    trace(`${nameOf(from)} -> ${nameOf(to)} ${items.map((i) => `${KINDS[i.kind]}:${i.body.length}`).join(' ')}`)
    relays.get(to)!.relay?.items(from, items)
  }

  down(a: RegionId, b: RegionId, forMs: number): void {
    const { clock, relays, nameOf, trace, count } = this.#options
    const link = this.#link(a, b)
    link.downUntil = clock.monotonic() + forMs
    if (!link.up) return
    link.up = false
    for (const wire of link.wires.values()) wire.cut()
    trace(`link ${nameOf(a)}-${nameOf(b)} down for ${forMs.toFixed(0)}`)
    count('link down')
    for (const [one, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const relay = relays.get(one)!
      relay.clock.run(() => relay.relay?.linkDown(other))
    }
  }

  stall(a: RegionId, b: RegionId, ms: number): void {
    const link = this.#link(a, b)
    if (!link.up) return
    for (const wire of link.wires.values()) wire.stall(ms)
    this.#options.trace(`link ${this.#options.nameOf(a)}-${this.#options.nameOf(b)} stalls`)
    this.#options.count('link stall')
  }

  /** A relay cut the link because of what the other said: between honest relays only what was lost before excuses it. */
  refused(from: RegionId, to: RegionId, reason: ParleyError): void {
    const { nameOf, trace, count, failed } = this.#options
    trace(`${nameOf(from)} refuses ${nameOf(to)}: ${reason.code} ${reason.message}`)
    count(`link refused ${reason.code}`)
    if (reason.code !== 'unknown_conversation')
      failed(`${nameOf(from)} cut ${nameOf(to)}: ${reason.code} ${reason.message}`)
    this.down(from, to, 50)
  }

  heal(): void {
    this.#faulty = false
  }
}

const KINDS: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(ItemKind).flatMap(([name, kind]) => (typeof kind === 'number' ? [[kind, name.toLowerCase()]] : [])),
)
