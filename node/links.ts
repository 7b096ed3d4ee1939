// Which links there are. A region that is wanted is dialled, after a jittered back-off again and again, and at once
// when one of its nodes shows up. Two nodes that dial each other at the same time both end up with two links; both keep
// the one that the smaller peer id dialled. Of a region with several nodes the first link that is up carries what is
// sent to the region; the others are in reserve.
import { LRUCache } from 'lru-cache'
import { type Clock, ParleyError, type Random, type Region, type RegionId, type Timer } from '#protocol'
import {
  LINK_BACKOFF_MAX_MS,
  LINK_BACKOFF_MS,
  LINK_DIALS_PER_ROUND,
  LINK_HEALTHY_MS,
  LINK_NODES_MAX,
  LINK_TICK_MS,
  LINK_UNKNOWN_BACKOFF_MAX_MS,
  LINKS_HALF_OPEN_MAX,
  LINKS_MAX,
} from './limits.ts'
import { Link, type LinkIntroduction } from './link.ts'
import { identify, outdated, type PeerIdentity } from './link-identity.ts'
import type { LinkNetwork, PeerStream, RegionBook } from './link-network.ts'
import type { Admission, LinkHandlers, LinkItem, Links, NodeEvents } from './types.ts'

export type LinksOptions = Omit<LinkIntroduction, 'timeMs'> & {
  readonly network: LinkNetwork
  readonly book: RegionBook
  readonly clock: Clock
  readonly random: Random
  readonly admission: Admission
  readonly events: NodeEvents
  /** Runs the callback when this moment's work is done. */
  readonly defer: (callback: () => void) => void
}

type Peer = PeerIdentity & {
  readonly dialledByUs: boolean
  readonly link: Link
  readonly sinceMs: number
}

type Destination = {
  wanted: boolean
  /** The first carries what is sent. */
  readonly peers: Peer[]
  dialling: boolean
  failures: number
  timer: Timer | undefined
  waiting: ((up: boolean) => void)[]
}

export class LinkKeeper implements Links {
  readonly #options: LinksOptions
  readonly #destinations = new Map<RegionId, Destination>()
  readonly #peers = new Map<string, Peer>()
  readonly #nodes = new LRUCache<string, RegionId>({ maxSize: LINK_NODES_MAX, sizeCalculation: () => 1 })
  readonly #all = new Set<Link>()
  /** Incoming links that have not said hello, the one that waited longest first. */
  readonly #halfOpen = new Set<Link>()
  /** Links that were given something since the last `flush`. */
  readonly #spoken = new Set<Link>()
  /** Peers whose last link was cut for what they did: until when, and how often in a row. */
  readonly #penalties = new Map<string, { until: number; count: number }>()
  /** Regions that were just tried in vain: until when requests are refused without trying again. */
  readonly #unreachable = new LRUCache<RegionId, number>({ max: LINKS_MAX })
  #handlers: LinkHandlers | undefined
  #ticker: Timer | undefined
  #closed = false

  constructor(options: LinksOptions) {
    this.#options = options
  }

  serve(handlers: LinkHandlers): void {
    if (this.#handlers) throw new Error('links are served already')
    this.#handlers = handlers
    this.#options.network.serve({
      stream: (stream) => this.#incoming(stream),
      peer: (peerId) => this.#appeared(peerId),
    })
    this.#tick()
    // Wanted before anybody was there to serve: nothing else would dial them.
    for (const [region, destination] of this.#destinations) if (destination.wanted) this.#connect(region, destination)
  }

  send(region: RegionId, item: LinkItem): boolean {
    const link = this.#primary(region)?.link
    if (!link?.send(item)) return false
    this.#spoken.add(link)
    return true
  }

  flush(): void {
    if (this.#spoken.size === 0) return
    for (const link of this.#spoken) link.stepDone()
    this.#spoken.clear()
  }

  isUp(region: RegionId): boolean {
    return this.#primary(region) !== undefined
  }

  backlog(region: RegionId): number {
    return this.#primary(region)?.link.backlog ?? 0
  }

  up(): RegionId[] {
    return [...this.#destinations].filter(([, { peers }]) => peers.length > 0).map(([region]) => region)
  }

  want(region: RegionId): void {
    const destination = this.#destination(region)
    if (destination.wanted) return
    destination.wanted = true
    this.#connect(region, destination)
  }

  unwant(region: RegionId): void {
    const destination = this.#destinations.get(region)
    if (!destination) return
    destination.wanted = false
    destination.timer?.cancel()
    destination.timer = undefined
    this.#forget(region, destination)
  }

  close(region: RegionId, error: ParleyError): void {
    for (const peer of [...(this.#destinations.get(region)?.peers ?? [])]) peer.link.cut(error)
  }

  regionOf(peerId: string): RegionId | undefined {
    return this.#peers.get(peerId)?.region
  }

  /** Whether the link in use was dialled from here; undefined when there is none. */
  dialledByUs(region: RegionId): boolean | undefined {
    return this.#primary(region)?.dialledByUs
  }

  /** The node that `send` goes to. */
  peerOf(region: RegionId): string | undefined {
    return this.#primary(region)?.peerId
  }

  /** Tries once to have a link to that region; resolves with whether there is one. */
  reach(region: RegionId, timeoutMs: number): Promise<boolean> {
    if (this.isUp(region)) return Promise.resolve(true)
    if ((this.#unreachable.get(region) ?? 0) > this.#options.clock.monotonic()) return Promise.resolve(false)
    const destination = this.#destination(region)
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(timeoutMs, () => done(this.isUp(region)))
      const done = (up: boolean): void => {
        timer.cancel()
        destination.waiting = destination.waiting.filter((waiter) => waiter !== done)
        this.#forget(region, destination)
        resolve(up)
      }
      destination.waiting.push(done)
      this.#connect(region, destination)
    })
  }

  /** A region's record has changed: links that rest on revoked or replaced keys end, a missing one is tried again. */
  regionChanged(region: Region): void {
    const destination = this.#destinations.get(region.regionId)
    if (destination?.wanted) this.#connect(region.regionId, destination)
    for (const peer of [...(this.#destinations.get(region.regionId)?.peers ?? [])]) {
      const error = outdated(peer, region, this.#options.book.rootEpoch(region.regionId))
      if (error) peer.link.cut(error)
    }
  }

  shutdown(): void {
    this.#closed = true
    this.#ticker?.cancel()
    for (const destination of this.#destinations.values()) {
      destination.timer?.cancel()
      for (const waiter of destination.waiting) waiter(false)
    }
    for (const link of [...this.#all]) link.cut(new ParleyError('closing', 'the node is closing'))
  }

  #primary(region: RegionId): Peer | undefined {
    return this.#destinations.get(region)?.peers[0]
  }

  #destination(region: RegionId): Destination {
    let destination = this.#destinations.get(region)
    if (!destination) {
      destination = { wanted: false, peers: [], dialling: false, failures: 0, timer: undefined, waiting: [] }
      this.#destinations.set(region, destination)
    }
    return destination
  }

  #forget(region: RegionId, destination: Destination): void {
    const idle =
      !destination.wanted && !destination.dialling && destination.peers.length === 0 && destination.waiting.length === 0
    if (idle) this.#destinations.delete(region)
  }

  #tick(): void {
    if (this.#closed) return
    const now = this.#options.clock.monotonic()
    for (const link of [...this.#all]) link.tick(now)
    for (const [peerId, penalty] of this.#penalties)
      if (penalty.until + LINK_BACKOFF_MAX_MS < now) this.#penalties.delete(peerId)
    this.#ticker = this.#options.clock.after(LINK_TICK_MS, () => this.#tick())
  }

  // --- dialling

  #connect(region: RegionId, destination: Destination): void {
    if (destination.dialling || destination.peers.length > 0 || this.#closed || !this.#handlers) return
    destination.timer?.cancel()
    destination.timer = undefined
    destination.dialling = true
    this.#dialRegion(region, destination)
      .catch((error: unknown) => {
        if (error instanceof ParleyError) return error
        this.#options.events.storageFailed(error)
        return new ParleyError('unreachable', 'the record of the region could not be read')
      })
      .then((error) => {
        destination.dialling = false
        if (destination.peers.length > 0 || this.#closed) return
        destination.failures++
        if (error && destination.wanted) this.#options.events.linkFailed(region, error, destination.failures)
        this.#unreachable.set(region, this.#options.clock.monotonic() + LINK_BACKOFF_MS)
        for (const waiter of [...destination.waiting]) waiter(false)
        this.#again(region, destination, error)
      })
  }

  #again(region: RegionId, destination: Destination, failed?: ParleyError): void {
    if (!destination.wanted || this.#closed) {
      this.#forget(region, destination)
      return
    }
    // Without a record each try is a look-up in the DHT, and a record that comes ends the pause: it may be long.
    const unknown = failed?.code === 'unknown_region' && !this.#options.book.knownRegion(region)
    const most = unknown ? LINK_UNKNOWN_BACKOFF_MAX_MS : LINK_BACKOFF_MAX_MS
    const base = Math.min(most, LINK_BACKOFF_MS * 2 ** Math.min(destination.failures, 16))
    const pause = Math.round(base * (0.5 + this.#options.random.fraction() / 2))
    destination.timer?.cancel()
    destination.timer = this.#options.clock.after(pause, () => this.#connect(region, destination))
  }

  /** Resolves with what kept it from having a link, if anything did. */
  async #dialRegion(region: RegionId, destination: Destination): Promise<ParleyError | undefined> {
    const { book, network, random } = this.#options
    const record = await book.findRegion(region, { fresh: destination.failures % 4 === 1 })
    if (!record) return new ParleyError('unknown_region', 'no record of the region is known')
    const nodes = record.nodes.filter((node) => node.peerId !== network.peerId)
    const first = Math.floor(random.fraction() * nodes.length)
    const tries = Math.min(nodes.length, LINK_DIALS_PER_ROUND)
    let failed: ParleyError | undefined
    for (let i = 0; i < tries && destination.peers.length === 0 && !this.#closed; i++) {
      const node = nodes[(first + i) % nodes.length]!
      this.#nodes.set(node.peerId, region)
      if (this.#penalised(node.peerId)) continue
      try {
        const stream = await network.dial(node.peerId, node.multiaddrs)
        await this.#adopt(stream, true)
      } catch (error) {
        if (!(error instanceof ParleyError)) throw error
        failed = error
      }
    }
    return failed
  }

  #appeared(peerId: string): void {
    const region = this.#nodes.get(peerId)
    const destination = region && this.#destinations.get(region)
    if (destination?.wanted) this.#connect(region!, destination)
  }

  #penalised(peerId: string): boolean {
    const penalty = this.#penalties.get(peerId)
    return penalty !== undefined && penalty.until > this.#options.clock.monotonic()
  }

  #penalise(peerId: string): void {
    const count = (this.#penalties.get(peerId)?.count ?? 0) + 1
    const pause = Math.min(LINK_BACKOFF_MAX_MS, LINK_BACKOFF_MS * 2 ** Math.min(count, 16))
    if (this.#penalties.size >= LINKS_MAX) this.#penalties.delete(this.#penalties.keys().next().value!)
    this.#penalties.set(peerId, { count, until: this.#options.clock.monotonic() + pause })
  }

  // --- a link's life

  #incoming(stream: PeerStream): void {
    this.#adopt(stream, false).catch((error: unknown) => {
      if (!(error instanceof ParleyError)) throw error
    })
  }

  /** Resolves when the link is up, rejects when it ended before. */
  #adopt(stream: PeerStream, dialledByUs: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const { clock, bootNonce, certificate, defer } = this.#options
      let peer: Peer | undefined
      let link: Link | undefined
      let early: ParleyError | undefined
      const pipe = stream.open({
        received: (chunk) => link?.received(chunk, clock.monotonic()),
        drained: () => link?.drained(),
        closed: (error) => {
          early = error ?? new ParleyError('unreachable', 'the stream ended')
          link?.closed(error)
        },
      })
      link = new Link(
        pipe,
        {
          hello: (hello) => {
            this.#halfOpen.delete(link!)
            peer = { ...identify(stream, hello, this.#options), dialledByUs, link: link!, sinceMs: clock.monotonic() }
            this.#settle(peer)
            resolve()
          },
          items: (items) => this.#handlers!.items(peer!.region, items, peer!.peerId),
          ended: (error, fault) => {
            this.#all.delete(link!)
            this.#halfOpen.delete(link!)
            this.#spoken.delete(link!)
            if (fault) this.#penalise(stream.peerId)
            if (peer && this.#peers.get(stream.peerId) === peer) this.#down(peer, error)
            else if (error && !peer) this.#options.events.linkRefused(stream.peerId, error)
            reject(error ?? new ParleyError('unreachable', 'the link was closed'))
          },
        },
        { bootNonce, certificate, timeMs: clock.now() },
        clock.monotonic(),
        defer,
      )
      this.#all.add(link)
      if (early) link.closed(early)
      else if (this.#closed) link.cut(new ParleyError('closing', 'the node is closing'))
      else if (dialledByUs) return
      else if (this.#penalised(stream.peerId))
        link.cut(new ParleyError('overloaded', 'again too soon after a link was cut'))
      else this.#awaitHello(link)
    })
  }

  /** Of too many silent links the oldest ends: an honest peer says hello long before it is the oldest. */
  #awaitHello(link: Link): void {
    this.#halfOpen.add(link)
    if (this.#halfOpen.size <= LINKS_HALF_OPEN_MAX) return
    const [oldest] = this.#halfOpen
    oldest!.cut(new ParleyError('overloaded', 'too many links without hello', { limit: `${LINKS_HALF_OPEN_MAX}` }))
  }

  /** Decides between this link and one that the same peer already has. Throws when the other one stays. */
  #settle(peer: Peer): void {
    const before = this.#peers.get(peer.peerId)
    if (before) {
      const restarted = before.bootNonce !== peer.bootNonce
      const smallerIsUs = this.#options.network.peerId < peer.peerId
      if (!restarted && before.dialledByUs !== peer.dialledByUs && before.dialledByUs === smallerIsUs) {
        peer.link.cut(new ParleyError('closing', 'another link of this pair stays'))
        return
      }
      before.link.cut(new ParleyError('closing', 'replaced by a newer link'))
    } else if (this.#peers.size >= LINKS_MAX)
      throw new ParleyError('overloaded', 'too many links', { limit: `${LINKS_MAX}` })
    this.#up(peer)
  }

  #up(peer: Peer): void {
    const destination = this.#destination(peer.region)
    this.#peers.set(peer.peerId, peer)
    this.#nodes.set(peer.peerId, peer.region)
    destination.peers.push(peer)
    destination.timer?.cancel()
    destination.timer = undefined
    if (destination.peers.length > 1) return
    this.#options.events.linkUp(peer.region, peer.peerId)
    this.#handlers!.up(peer.region, peer.peerId)
    for (const waiter of [...destination.waiting]) waiter(true)
  }

  #down(peer: Peer, error: ParleyError | undefined): void {
    const { clock, events } = this.#options
    const destination = this.#destination(peer.region)
    const wasFirst = destination.peers[0] === peer
    this.#peers.delete(peer.peerId)
    destination.peers.splice(destination.peers.indexOf(peer), 1)
    if (clock.monotonic() - peer.sinceMs > LINK_HEALTHY_MS) destination.failures = 0
    else destination.failures++
    if (!wasFirst) return
    events.linkDown(peer.region, peer.peerId, error)
    this.#handlers!.down(peer.region, peer.peerId, error)
    const next = destination.peers[0]
    if (next) {
      events.linkUp(next.region, next.peerId)
      this.#handlers!.up(next.region, next.peerId)
    } else if (!destination.dialling) this.#again(peer.region, destination)
  }
}
