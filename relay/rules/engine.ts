// A relay's rules as one machine: events come in, and each runs as a **turn**: synchronous steps over pending state,
// then one frame per socket and one item per stream leave. What has to be read first is loaded, and goes on in a turn of
// its own. Commits bracket the turns: before one is closed the changed conversations are written into it, after it
// counts what waited for it leaves.
import { type ConvId, type HomeRecord, type RegionId, type UserId, limits as wire } from '#protocol'
import type { Replayed, Store } from '../store/types.ts'
import { Arriving } from './arriving.ts'
import { Builder } from './building.ts'
import { type Conversation, wantsSafe } from './conversation.ts'
import { HOST_STREAM, KEPT, LOG_STREAM } from './conversation-rows.ts'
import { Conversations } from './conversations.ts'
import { type Core, Outbox } from './core.ts'
import { Devices } from './devices.ts'
import { Feeds, streamHead } from './feeds.ts'
import { Following } from './following.ts'
import { FormerHomes } from './former-homes.ts'
import { Inboxes } from './inboxes.ts'
import { Introductions } from './introductions.ts'
import { JournalNotes } from './journal-notes.ts'
import { LagServer } from './lag-server.ts'
import { Leaving } from './leaving.ts'
import type { RuleLimits } from './limits.ts'
import { Log } from './log.ts'
import { Moves } from './moves.ts'
import type { DeviceSession, Item, Owed, Relay, RelayHooks, RelayPorts } from './ports.ts'
import { Regions } from './regions.ts'
import { Registers } from './registers.ts'
import { CatchUpPace, Resuming } from './resuming.ts'
import { Senders, type Sent } from './senders.ts'
import { Sessions } from './sessions.ts'
import { Submissions } from './submissions.ts'

export type RelayEngine = {
  readonly relay: Relay
  /** To be called by the store; see RelayHooks. */
  readonly hooks: RelayHooks
  /**
   * Before anything else: what the former boot's journal still owed becomes lag rows. Throws `old_backup` when the store
   * was found to be one.
   */
  takeOver(replayed: readonly Replayed[]): Promise<void>
  /** Devices wait for this: other regions may know that the store is an old backup. Rejects when they do. */
  heard(): Promise<void>
  /** For tests, metrics and checkers. */
  inspect(): {
    conversations: number
    windowItems(region: RegionId): number
    /** How far the journal of another region has come, as it said, as a commit of its present life. */
    journalOf(region: RegionId): number
    owed(): Owed
  }
}

/** `failed`: reading the store failed or an invariant broke; the process must end. */
export function createRelay(
  ports: RelayPorts,
  store: Store,
  limits: RuleLimits,
  failed: (error: Error) => void,
): RelayEngine {
  return new Engine(ports, store, limits, failed)
}

/** Conversations that a sweep after a restart looks at. */
const KEPT_PER_SWEEP = 32

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
  readonly #formerHomes: FormerHomes
  readonly #notes: JournalNotes
  #depth = 0
  #sweptMs: number
  #ended = false
  #walked: string | undefined = ''
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
    const recordsOf = (conv: Conversation): HomeRecord[] => recordsOfMembers(ports, conv)
    const load: Core['load'] = (reading, then) => this.#load(reading, then)
    const send = (region: RegionId, item: Item): void => ports.links.send(region, item)
    const inboxes = new Inboxes(store, ports.directory)
    this.#core = {
      ports,
      store,
      inboxes,
      convs: new Conversations(store, inboxes, ports.region, limits.conversations, load, (conv) => this.#opened(conv)),
      sessions: new Sessions(limits.sessionBacklogBytes, recordsOf),
      feeds: new Feeds(
        store,
        ports.clock,
        { windowItems: limits.windowItems, patienceMs: limits.patienceMs },
        {
          streamHead,
          lagged: (region) => this.#lag.lagged(region),
          demoted: (region, streams) => ports.events.demoted(region, streams),
        },
      ),
      outbox: new Outbox(() => store.committed(), send),
      load,
      isAwaited: (id, user) => this.#arriving.isAwaited(id, user),
      mayComeFromElsewhere: (id, than) => this.#arriving.mayComeFromElsewhere(id, than),
      keeping: (user) => this.#formerHomes.keeping(user),
      counts: { submitted: 0, sequenced: 0 },
    }
    this.#notes = new JournalNotes({
      ...{ ports, store, limits },
      freeze: () => {
        this.#ended = true
      },
      failed,
    })
    this.#introductions = new Introductions(ports.links, recordsOf)
    this.#senders = new Senders(this.#core, limits, this.#introductions)
    this.#log = new Log(this.#core)
    this.#pace = new CatchUpPace(limits.catchUpTickBytes)
    const pieces = { pieceBytes: limits.lagTurnBytes, liveBytes: limits.itemBytes }
    this.#resuming = new Resuming(this.#senders, this.#pace, pieces)
    this.#lag = new LagServer(
      this.#core,
      { streams: limits.lagStreams, turnBytes: limits.lagTurnBytes, againMs: limits.lagAgainMs },
      this.#pace,
      (conv, region, stream, maxBytes, done) => this.#sendStream(conv, region, stream, maxBytes, done),
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
      check: (conv) => this.#following.check(conv),
    })
    this.#following = new Following({ ...common, moves: this.#moves, arriving: this.#arriving })
    this.#formerHomes = new FormerHomes(this.#core, limits.takeoverAgainMs, (user) => this.#following.homeChanged(user))
    const parts = {
      ...{ log: this.#log, lag: this.#lag, submissions: this.#submissions, senders: this.#senders },
      ...{ registers: this.#registers, moves: this.#moves, arriving: this.#arriving, resuming: this.#resuming },
      notes: this.#notes,
      moving: { moves: this.#moves, arriving: this.#arriving, leaving, formerHomes: this.#formerHomes },
      moved: (users: readonly UserId[]) => this.#following.homesChanged(users),
    }
    this.#devices = new Devices(this.#core, parts)
    this.#regions = new Regions(this.#core, parts)
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

  #fail(error: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.#failed(error instanceof Error ? error : new Error(String(error)))
  }

  #opened(conv: Conversation): void {
    if (conv.hostedHere) this.#log.hostSafe(conv, undefined)
    else if (wantsSafe(conv)) this.#regions.askSafe(conv)
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
    this.#walked = ''
    this.#introductions.reset(region)
    this.#lag.reset(region)
    this.#formerHomes.linkUp(region)
    this.#resuming.reset(region)
    this.#core.feeds.heard(region)
    for (const conv of this.#core.convs.loaded()) {
      this.#following.check(conv)
      const feed = conv.feeds.get(region)
      if (!feed) continue
      feed.sent.clear()
      if (!conv.hostedHere && wantsSafe(conv)) this.#regions.askSafe(conv)
    }
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
    this.#walkKept()
    this.#regions.forgive()
    this.#core.inboxes.sweep()
    this.#tellCounts()
    const { feeds, inboxes, store, sessions } = this.#core
    if (this.#log.hasTrimmable() || inboxes.hasChanges() || feeds.wantsCommit()) store.note(new Uint8Array(0))
    if (sessions.hasPaused()) this.#devices.resumePaused()
    for (const region of feeds.destinations()) {
      if (!this.#ports.links.isUp(region)) {
        this.#ports.links.want(region)
        continue
      }
      this.#lag.sweep(region)
      this.#resumeAll(region)
    }
    this.#resuming.run()
  }

  /**
   * After a restart nobody may come back to a conversation that could be trimmed: look at each once, and again when a
   * link has come up over which it can be asked what is safe.
   */
  #walkKept(): void {
    const from = this.#walked
    if (from === undefined) return
    this.#walked = undefined
    const options = { from, to: undefined, limit: KEPT_PER_SWEEP, reverse: false }
    this.#load(this.#core.store.range(KEPT, options), (rows) => {
      for (const [id] of rows) this.#core.convs.with(id as ConvId, (conv) => conv && this.#moves.retireIfLeft(conv))
      const last = rows[rows.length - 1]
      if (rows.length === KEPT_PER_SWEEP && last) this.#walked ??= `${last[0]}\0`
    })
  }

  #owed(): Owed {
    const { feeds, convs } = this.#core
    let [lagging, inbox] = [0, 0]
    for (const conv of convs.loaded()) {
      for (const { lag } of conv.feeds.values()) lagging += lag.size
      for (const member of conv.members) if (member.inbox) inbox++
    }
    const window = feeds.destinations().reduce((sum, region) => sum + feeds.windowSize(region), 0)
    return { window, lagging, inbox }
  }

  inspect(): ReturnType<RelayEngine['inspect']> {
    return {
      conversations: [...this.#core.convs.loaded()].length,
      windowItems: (region) => this.#core.feeds.windowSize(region),
      journalOf: (region) => this.#notes.keptOf(region).commit,
      owed: () => this.#owed(),
    }
  }
}

function recordsOfMembers(ports: RelayPorts, conv: Conversation): HomeRecord[] {
  return conv.members.flatMap((m) => ports.directory.knownHome(m.userId)?.record ?? [])
}
