// A relay's rules as one machine: events come in, and each runs as a **turn**: synchronous steps over pending state,
// then one frame per socket and one item per stream leave. What has to be read first is loaded, and goes on in a turn of
// its own. Commits bracket the turns: before one is closed the changed conversations are written into it, after it
// counts what waited for it leaves.
import { type RegionId, type UserId, limits as wire } from '#protocol'
import type { Replayed, Store } from '../store/types.ts'
import { Arriving } from './arriving.ts'
import { Builder } from './building.ts'
import type { Conversation } from './conversation.ts'
import { HOST_STREAM, LOG_STREAM } from './conversation-rows.ts'
import { Conversations } from './conversations.ts'
import { type Core, Outbox } from './core.ts'
import { Devices } from './devices.ts'
import { Feeds, streamHead } from './feeds.ts'
import { Following } from './following.ts'
import { FormerHomes } from './former-homes.ts'
import { Inboxes } from './inboxes.ts'
import { Introductions, recordsOfMembers } from './introductions.ts'
import { JournalNotes } from './journal-notes.ts'
import { KeptWalk, owedOf } from './kept-walk.ts'
import { LagServer } from './lag-server.ts'
import { Leaving } from './leaving.ts'
import type { RuleLimits } from './limits.ts'
import { livesOf } from './lives.ts'
import { LoadedWalk } from './loaded-walk.ts'
import { Log } from './log.ts'
import { Moves } from './moves.ts'
import { Offers } from './offers.ts'
import type { DeviceSession, Item, Relay, RelayEngine, RelayHooks, RelayPorts } from './ports.ts'
import { Regions } from './regions.ts'
import { Registers } from './registers.ts'
import { CatchUpPace, Resuming } from './resuming.ts'
import { Senders, type Sent } from './senders.ts'
import { Sessions } from './sessions.ts'
import { SilentRegions } from './silent-regions.ts'
import { Submissions } from './submissions.ts'

/** `failed`: reading the store failed or an invariant broke; the process must end. */
export function createRelay(
  ports: RelayPorts,
  store: Store,
  limits: RuleLimits,
  failed: (error: Error) => void,
): RelayEngine {
  return new Engine(ports, store, limits, failed)
}

class Engine implements RelayEngine, Relay {
  readonly #ports: RelayPorts
  readonly #limits: RuleLimits
  readonly #failed: (error: Error) => void
  readonly #core: Core
  readonly #introductions: Introductions
  readonly #senders: Senders
  readonly #log: Log
  readonly #lag: LagServer
  readonly #pace: CatchUpPace
  readonly #resuming: Resuming
  readonly #submissions: Submissions
  readonly #registers: Registers
  readonly #devices: Devices
  readonly #regions: Regions
  readonly #moves: Moves
  readonly #arriving: Arriving
  readonly #following: Following
  readonly #offers: Offers
  readonly #formerHomes: FormerHomes
  readonly #silent: SilentRegions
  readonly #notes: JournalNotes
  readonly #keptWalk: KeptWalk
  readonly #loadedWalk: LoadedWalk
  #depth = 0
  #sweptMs: number
  #ended = false
  readonly relay: Relay = this
  readonly hooks: RelayHooks = {
    closing: (commit) => this.#closing(commit),
    committed: (commit) => this.#turn(() => this.#committed(commit)),
    trimBelow: () => this.#core.feeds.trimBelow(),
  }

  constructor(ports: RelayPorts, store: Store, limits: RuleLimits, failed: (error: Error) => void) {
    this.#ports = ports
    this.#limits = limits
    this.#failed = failed
    this.#sweptMs = ports.clock.monotonic()
    const opened = (conv: Conversation): void => this.#opened(conv)
    const check = (conv: Conversation): void => this.#following.check(conv)
    const recordsOf = (conv: Conversation) => recordsOfMembers(ports, conv)
    const load: Core['load'] = (reading, then) => this.#load(reading, then)
    const send = (region: RegionId, item: Item): void => ports.links.send(region, item)
    const inboxes = new Inboxes(store, ports.directory)
    const { lifeOf, ...lives } = livesOf(ports, () => this.#notes.life)
    this.#core = {
      ...{ ports, store, inboxes, load },
      convs: new Conversations(store, inboxes, ports.region, limits.conversations, load, opened, lifeOf),
      sessions: new Sessions(limits.sessionBacklogBytes, recordsOf),
      feeds: this.#openFeeds(ports, store),
      outbox: new Outbox(() => store.committed(), send),
      isAwaited: (id, user) => this.#arriving.isAwaited(id, user),
      mayComeFromElsewhere: (id, than) => this.#arriving.mayComeFromElsewhere(id, than),
      ...lives,
      keeping: (user) => this.#formerHomes.keeping(user),
      counts: { submitted: 0, sequenced: 0 },
    }
    this.#keptWalk = new KeptWalk(this.#core)
    this.#loadedWalk = new LoadedWalk(this.#core.convs, check, (conv) => this.#regions.askHost(conv))
    this.#notes = new JournalNotes({ ports, store, limits, failed, freeze: () => this.#freeze() })
    this.#introductions = new Introductions(ports, limits.takeoverAgainMs, recordsOf)
    this.#senders = new Senders(this.#core, limits, this.#introductions)
    this.#log = new Log(this.#core)
    this.#pace = new CatchUpPace(limits.catchUpTickBytes)
    const pieces = { pieceBytes: limits.lagTurnBytes, liveBytes: limits.itemBytes }
    this.#resuming = new Resuming(this.#senders, this.#pace, pieces)
    this.#lag = new LagServer(
      this.#core,
      { streams: limits.lagStreams, turnBytes: limits.lagTurnBytes, againMs: limits.lagAgainMs },
      this.#pace,
      {
        send: (conv, region, stream, maxBytes, done) => this.#sendStream(conv, region, stream, maxBytes, done),
        check,
        unheard: (conv, region) => this.#introductions.anew(region, conv),
      },
    )
    this.#submissions = new Submissions(this.#core, this.#log, this.#senders, limits)
    this.#registers = new Registers(this.#core, this.#senders, this.#introductions)
    const common = { core: this.#core, log: this.#log, lag: this.#lag, introductions: this.#introductions }
    this.#moves = new Moves({ ...common, submissions: this.#submissions })
    const leaving = new Leaving(this.#core, this.#moves)
    this.#arriving = new Arriving({
      ...{ ...common, submissions: this.#submissions, moves: this.#moves, leaving, limits },
      builder: new Builder(this.#core, this.#log),
      arrived: (conv, users) => this.#devices.arrived(conv, users),
      check,
    })
    this.#following = new Following({ ...common, moves: this.#moves, arriving: this.#arriving, kept: this.#keptWalk })
    this.#silent = new SilentRegions(this.#core, limits.lookUpAgainMs, check)
    this.#formerHomes = new FormerHomes(this.#core, limits.takeoverAgainMs, (user) => this.#following.homeChanged(user))
    this.#offers = new Offers(this.#core, this.#moves, this.#registers)
    const parts = {
      offers: this.#offers,
      ...{ log: this.#log, lag: this.#lag, submissions: this.#submissions, senders: this.#senders },
      ...{ registers: this.#registers, moves: this.#moves, arriving: this.#arriving, resuming: this.#resuming },
      notes: this.#notes,
      moving: { moves: this.#moves, arriving: this.#arriving, leaving, formerHomes: this.#formerHomes },
      moved: (users: readonly UserId[]) => this.#following.homesChanged(users),
    }
    this.#devices = new Devices(this.#core, parts)
    this.#regions = new Regions(this.#core, parts)
  }

  #openFeeds({ clock, events }: RelayPorts, store: Store): Feeds {
    return new Feeds(store, clock, this.#limits, {
      streamHead,
      lagged: (region) => this.#lag.lagged(region),
      demoted: (region, streams) => events.demoted(region, streams),
    })
  }

  // --- turns

  #turn(step: () => void): void {
    if (this.#ended) return
    this.#depth++
    try {
      step()
    } finally {
      this.#depth--
    }
    if (this.#depth > 0) return
    this.#senders.flush()
    this.#regions.flush()
    this.#log.flush()
    this.#core.sessions.flush(this.#core.store.committed())
    this.#core.convs.evict()
  }

  #load<T>(reading: Promise<T>, then: (value: T) => void): void {
    reading.then((value) => this.#turn(() => then(value))).catch((error: unknown) => this.#fail(error))
  }

  /** Nothing may happen any more. */
  #freeze(): void {
    this.#ended = true
  }

  #fail(error: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.#failed(error instanceof Error ? error : new Error(String(error)))
  }

  #opened(conv: Conversation): void {
    if (conv.life < this.#notes.life) this.#moves.wentBack(conv)
    if (conv.hostedHere) {
      this.#log.hostSafe(conv, undefined)
      // It may have become the host, and been let go of, or crashed, before that.
      this.#submissions.numberWaiting(conv)
    } else this.#regions.askHost(conv)
    if (conv.low < conv.head) this.#log.cursorMoved(conv)
    this.#registers.opened(conv)
    this.#following.check(conv)
  }

  // --- commits

  #closing(commit: number): void {
    this.#log.trim()
    this.#core.convs.closing(commit)
    this.#core.inboxes.closing()
    this.#core.feeds.closing(commit)
    this.#notes.closing()
  }

  #committed(commit: number): void {
    this.#tellCounts()
    this.#core.feeds.committed(commit)
    this.#core.outbox.committed(commit)
    for (const conv of this.#core.convs.committed(commit)) {
      // What came from elsewhere was safe, and may have been read, before it was written here.
      if (conv.low < conv.settled && conv.settled <= conv.safe) this.#log.cursorMoved(conv)
      if (!conv.hostedHere) {
        this.#regions.acknowledge(conv)
        continue
      }
      if (conv.feeds.size === 0) this.#log.hostSafe(conv, undefined)
      for (const [region, feed] of conv.feeds) {
        if (!feed.lag.has(LOG_STREAM)) this.#resuming.live(conv, region)
        else this.#lag.lagged(region)
      }
    }
    for (const { conv, region, stream } of this.#core.feeds.registersDue(commit)) this.#resume(conv, region, stream)
    this.#moves.committed()
  }

  #tellCounts(): void {
    const { counts } = this.#core
    if (counts.submitted > 0) this.#ports.events.submitted(counts.submitted)
    if (counts.sequenced > 0) this.#ports.events.sequenced(counts.sequenced)
    counts.submitted = 0
    counts.sequenced = 0
  }

  #sendStream(conv: Conversation, region: RegionId, stream: string, maxBytes: number, done: Sent): void {
    if (stream === LOG_STREAM) {
      if (conv.hostedHere) this.#senders.pumpLog(conv, region, maxBytes, done)
      else done(0, 0)
    } else if (stream.startsWith('s')) {
      const author = conv.authors.get(stream.slice(1))
      if (author && conv.host === region) this.#senders.pumpSubmissions(conv, author, maxBytes, done)
      else done(0, 0)
    } else if (stream === HOST_STREAM) done(this.#moves.tell(conv, region), 0)
    else done(this.#registers.send(conv, region, stream), 0)
  }

  // --- the relay

  async takeOver(replayed: readonly Replayed[]): Promise<void> {
    await this.#notes.start()
    await this.#core.feeds.takeOver(replayed)
    this.#formerHomes.start()
    for (const region of this.#core.feeds.destinations()) this.#ports.links.want(region)
  }

  heard(): Promise<void> {
    return this.#notes.heard
  }

  openSession(session: DeviceSession): void {
    this.#turn(() => {
      this.#devices.open(session)
      this.#formerHomes.tellOf(session.userId)
    })
  }

  closeSession(id: string): void {
    const session = this.#core.sessions.get(id)
    if (session) this.#core.sessions.drop(session)
  }

  deviceFrame(id: string, frame: Parameters<Relay['deviceFrame']>[1]): void {
    const session = this.#core.sessions.get(id)
    if (session) this.#turn(() => this.#devices.frame(session, frame))
  }

  linkUp(region: RegionId): void {
    this.#turn(() => {
      this.#notes.linkUp(region)
      this.#restart(region)
      this.#resumeAll(region)
      this.#resuming.run()
      this.#lag.run(region)
    })
  }

  /** What waits in the journal for this region. */
  #resumeAll(region: RegionId): void {
    for (const { conv, stream } of this.#core.feeds.waiting(region)) {
      if (stream === LOG_STREAM) this.#resuming.begin(conv, region)
      else this.#resume(conv, region, stream)
    }
  }

  /** Nothing is on its way any more: what was sent and not acknowledged is sent again. */
  #restart(region: RegionId): void {
    this.#keptWalk.again()
    this.#introductions.reset(region)
    this.#lag.reset(region)
    this.#formerHomes.linkUp(region)
    this.#silent.linkUp(region)
    this.#resuming.reset(region)
    this.#core.feeds.heard(region)
    for (const { feeds } of this.#core.convs.loaded()) feeds.get(region)?.sent.clear()
    this.#loadedWalk.linkUp(region)
  }

  #resume(conv: Conversation, region: RegionId, stream: string): void {
    this.#sendStream(conv, region, stream, wire.LINK_BATCH_MAX_BYTES, () => {})
  }

  linkDown(region: RegionId): void {
    this.#notes.linkDown(region)
    this.#lag.reset(region)
    this.#resuming.reset(region)
  }

  items(region: RegionId, items: readonly Item[]): void {
    this.#turn(() => {
      for (const item of items) {
        if (this.#ended) return
        this.#regions.guard(region, () => this.#regions.item(region, item))
      }
    })
  }

  manifestChanged(manifest: Parameters<Relay['manifestChanged']>[0]): void {
    this.#turn(() => this.#devices.manifestChanged(manifest))
  }

  homeChanged(user: UserId): void {
    this.#turn(() => {
      this.#following.homeChanged(user)
      this.#formerHomes.tellOf(user)
    })
  }

  tick(): void {
    const now = this.#ports.clock.monotonic()
    this.#turn(() => {
      this.#notes.tick()
      this.#loadedWalk.next()
      this.#submissions.tick()
      this.#arriving.tick()
      this.#formerHomes.tick()
      this.#registers.tick()
      this.#pace.tick()
      this.#resuming.run()
      this.#lag.tick()
      if (now - this.#sweptMs >= this.#limits.sweepMs) {
        this.#sweptMs = now
        this.#sweep()
      }
    })
  }

  /** Looks after what a lost signal may have left behind, and lets what only rides in commits have one. */
  #sweep(): void {
    this.#keptWalk.next((conv) => this.#moves.retireIfLeft(conv))
    this.#regions.forgive()
    this.#regions.askAgain()
    this.#core.inboxes.sweep()
    this.#tellCounts()
    const { feeds, inboxes, store, sessions } = this.#core
    if (this.#log.hasTrimmable() || inboxes.hasChanges() || feeds.wantsCommit()) store.note(new Uint8Array(0))
    if (sessions.hasPaused()) this.#offers.resumePaused()
    for (const region of feeds.destinations()) {
      if (!this.#ports.links.isUp(region)) {
        this.#ports.links.want(region)
        this.#silent.look(region)
        continue
      }
      this.#lag.sweep(region)
      this.#resumeAll(region)
    }
    this.#resuming.run()
  }

  inspect(): ReturnType<RelayEngine['inspect']> {
    const loaded = [...this.#core.convs.loaded()]
    return {
      conversations: loaded.length,
      authors: loaded.reduce((sum, { authors }) => sum + authors.size, 0),
      windowItems: (region) => this.#core.feeds.windowSize(region),
      journalOf: (region) => this.#notes.keptOf(region).commit,
      owed: () => owedOf(this.#core),
    }
  }
}
