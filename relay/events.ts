// One function per business event; each feeds the log and the metrics. Ids go into the log only, never into labels;
// texts, keys and tokens go nowhere.
import { Counter, Gauge, Histogram, Registry } from '@prometheus-io/client'
import type { Logger } from 'pino'
import type { NodeEvents } from '#node'
import type { Clock, ParleyError, RegionId, UserId } from '#protocol'
import type { GatewayEvents } from './gateway/parts.ts'
import { LINES_EVERY_MS, LINES_MAX, READINGS_KEPT_MS } from './limits.ts'
import type { RelayEvents } from './rules/ports.ts'

export type AccountEvents = {
  registered(user: UserId): void
  manifestReplaced(user: UserId): void
  prekeysGiven(lastResort: boolean): void
  prekeysLow(user: UserId): void
  publishFailed(user: UserId, error: unknown): void
}

export type ProcessEvents = {
  started(facts: Readonly<Record<string, unknown>>): void
  stopping(): void
  stopped(): void
  /** The process ends after this. */
  storeFailed(error: Error): void
  /** An entry service did not answer; the node goes on with what it knew. */
  entryFailed(error: unknown): void
  /** A fault of ours that ended one request or session, not the process. */
  fault(where: string, error: unknown): void
}

/** What is read when somebody asks for the metrics. */
export type Readings = {
  readonly sockets: number
  readonly sessions: number
  readonly linksUp: number
  readonly owed: Readonly<Record<string, number>>
  readonly store: Readonly<Record<string, number>>
}

export type Events = {
  readonly relay: RelayEvents
  readonly node: NodeEvents
  readonly gateway: GatewayEvents
  readonly accounts: AccountEvents
  readonly process: ProcessEvents
  /** The text for GET /metrics. */
  metrics(): Promise<string>
}

function meters(registry: Registry) {
  const counter = (name: string, help: string) => new Counter({ name: `parley_${name}`, help, registers: [registry] })
  const coded = (name: string, help: string) =>
    new Counter({ name: `parley_${name}`, help, labelNames: ['code'], registers: [registry] })
  const took = (name: string, help: string) =>
    new Histogram({
      name: `parley_${name}`,
      help,
      labelNames: ['kind'],
      buckets: [5, 20, 50, 100, 250, 500, 1_000, 2_500, 5_000],
      registers: [registry],
    })
  return {
    submitted: counter('submissions_total', 'Submissions taken from devices'),
    sequenced: counter('sequenced_total', 'Entries numbered by this node as host'),
    delivered: counter('delivered_total', 'Entries pushed to devices'),
    held: counter('held_total', 'Submissions answered with held'),
    refused: coded('refusals_total', 'Refusals by the conversation rules'),
    demoted: counter('demoted_streams_total', 'Streams that left the journal for a lag row'),
    socketsRefused: coded('sockets_refused_total', 'Sockets refused before the upgrade'),
    signIns: counter('sign_ins_total', 'Sign-ins'),
    signInsRefused: coded('sign_ins_refused_total', 'Sign-ins refused'),
    sessionsEnded: coded('sessions_ended_total', 'Sessions ended, by reason'),
    http: new Counter({
      name: 'parley_http_requests_total',
      help: 'HTTP requests',
      labelNames: ['status'],
      registers: [registry],
    }),
    registered: counter('accounts_registered_total', 'Accounts opened'),
    manifests: counter('manifests_replaced_total', 'Manifests replaced'),
    bundles: new Counter({
      name: 'parley_prekey_bundles_total',
      help: 'Prekey bundles handed out, by kind of Kyber key',
      labelNames: ['kyber'],
      registers: [registry],
    }),
    prekeysLow: counter('prekeys_low_total', 'Devices told that few one-time prekeys are left'),
    linksLost: coded('links_lost_total', 'Links that ended'),
    linksFailed: coded('links_failed_total', 'Attempts to make a link that failed'),
    linksRefused: coded('links_refused_total', 'Links that ended before they were up'),
    recordsRefused: coded('records_refused_total', 'Records offered and not taken'),
    requestsRefused: coded('requests_refused_total', 'Requests of other nodes refused'),
    publishMs: took('publish_ms', 'Time to publish a record'),
    lookUpMs: took('look_up_ms', 'Time to look a record up'),
    faults: counter('faults_total', 'Faults of this program'),
  }
}

type Meters = ReturnType<typeof meters>

/** One for all gauges of a scrape, and for all who ask within a moment: it looks at every conversation in use. */
function keptReading(read: () => Readings, clock: Pick<Clock, 'monotonic'>): () => Readings {
  let kept: { readonly readings: Readings; readonly atMs: number } | undefined
  return () => {
    const nowMs = clock.monotonic()
    if (!kept || nowMs - kept.atMs >= READINGS_KEPT_MS) kept = { readings: read(), atMs: nowMs }
    return kept.readings
  }
}

function gauges(registry: Registry, read: () => Readings): void {
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name: `parley_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(value())
      },
    })
  gauge('sockets', 'Open sockets on the client port', () => read().sockets)
  gauge('sessions', 'Signed-in devices', () => read().sessions)
  gauge('links_up', 'Links to other regions', () => read().linksUp)
  gauge('memory_bytes', 'Resident memory of the process', () => process.memoryUsage.rss())
  const several = (name: string, help: string, values: () => Readonly<Record<string, number>>) =>
    new Gauge({
      name: `parley_${name}`,
      help,
      labelNames: ['what'],
      registers: [registry],
      collect() {
        for (const [what, value] of Object.entries(values())) this.set({ what }, value)
      },
    })
  several('owed', 'What others do not have yet, in the conversations that are in use', () => read().owed)
  several('store', 'What the store says of itself', () => read().store)
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'fault'

type Say = (facts: object, message: string) => void

/** What others can make happen as often as they like is counted always, and said LINES_MAX times in LINES_EVERY_MS. */
function sayingSome(log: Logger, clock: Pick<Clock, 'monotonic'>): Say {
  const kinds = new Map<string, { fromMs: number; said: number; leftOut: number }>()
  return (facts, message) => {
    const now = clock.monotonic()
    const kind = kinds.get(message) ?? { fromMs: now, said: 0, leftOut: 0 }
    kinds.set(message, kind)
    if (now - kind.fromMs >= LINES_EVERY_MS) Object.assign(kind, { fromMs: now, said: 0 })
    if (kind.said === LINES_MAX) {
      kind.leftOut++
      return
    }
    kind.said++
    const { leftOut } = kind
    kind.leftOut = 0
    log.info(leftOut > 0 ? { ...facts, leftOut } : facts, message)
  }
}

function relayEvents(say: Say, m: Meters): RelayEvents {
  return {
    submitted: (count) => m.submitted.inc(count),
    sequenced: (count) => m.sequenced.inc(count),
    delivered: (count) => m.delivered.inc(count),
    held: (count) => m.held.inc(count),
    refused: (code) => m.refused.inc({ code }),
    demoted(region, streams) {
      m.demoted.inc(streams)
      say({ region, streams }, 'a region lags: its streams are served from the tables')
    },
  }
}

function nodeEvents(log: Logger, say: Say, m: Meters): NodeEvents {
  return {
    linkUp: (region, peerId) => say({ region, peerId }, 'link up'),
    linkDown(region: RegionId, peerId: string, error: ParleyError | undefined) {
      m.linksLost.inc({ code: error?.code ?? 'closed' })
      say({ region, peerId, code: error?.code, reason: error?.message }, 'link down')
    },
    linkFailed(region, error, times) {
      m.linksFailed.inc({ code: error.code })
      // The first ones, then ever more rarely.
      const level = Number.isInteger(Math.log2(times)) ? 'info' : 'debug'
      log[level]({ region, times, code: error.code, reason: error.message }, 'no link')
    },
    linkRefused(peerId, error) {
      m.linksRefused.inc({ code: error.code })
      say({ peerId, code: error.code, reason: error.message }, 'link refused')
    },
    published(kind, accepted, tookMs) {
      m.publishMs.observe({ kind }, tookMs)
      log.debug({ kind, accepted, tookMs }, 'published')
    },
    lookedUp(kind, found, tookMs) {
      m.lookUpMs.observe({ kind }, tookMs)
      log.debug({ kind, found, tookMs }, 'looked up')
    },
    recordRefused: (_kind, code) => m.recordsRefused.inc({ code }),
    requestRefused: (_method, code) => m.requestsRefused.inc({ code }),
    storageFailed(error) {
      m.faults.inc()
      log.error({ err: error }, 'the node could not keep a row')
    },
  }
}

function gatewayEvents(log: Logger, say: Say, m: Meters): GatewayEvents {
  return {
    socketRefused(code) {
      m.socketsRefused.inc({ code })
      log.debug({ code }, 'socket refused')
    },
    signedIn(user, device) {
      m.signIns.inc()
      say({ user, device }, 'signed in')
    },
    signInRefused(error) {
      m.signInsRefused.inc({ code: error.code })
      say({ code: error.code, reason: error.message }, 'sign-in refused')
    },
    sessionEnded(user, device, error) {
      m.sessionsEnded.inc({ code: error?.code ?? 'closed' })
      say({ user, device, code: error?.code, reason: error?.message }, 'session ended')
    },
    answered: (status) => m.http.inc({ status: `${status}` }),
    fault(where, error) {
      m.faults.inc()
      log.error({ where, err: error }, 'fault')
    },
  }
}

function accountEvents(log: Logger, say: Say, m: Meters): AccountEvents {
  return {
    registered(user) {
      m.registered.inc()
      say({ user }, 'account opened')
    },
    manifestReplaced(user) {
      m.manifests.inc()
      say({ user }, 'manifest replaced')
    },
    prekeysGiven: (lastResort) => m.bundles.inc({ kyber: lastResort ? 'last_resort' : 'one_time' }),
    prekeysLow(user) {
      m.prekeysLow.inc()
      log.debug({ user }, 'few prekeys left')
    },
    publishFailed: (user, error) =>
      log.warn({ user, code: codeOf(error), err: error }, 'a home record was not published'),
  }
}

function processEvents(log: Logger, m: Meters): ProcessEvents {
  return {
    started: (facts) => log.info(facts, 'started'),
    stopping: () => log.info('stopping'),
    stopped: () => log.info('stopped'),
    storeFailed(error) {
      if (codeOf(error) === 'old_backup') log.fatal({ err: error }, 'the store is an old backup: this process ends')
      else log.fatal({ err: error }, 'the store failed: this process ends and takes over from its journal')
    },
    entryFailed: (error) =>
      log.warn({ reason: error instanceof Error ? error.message : String(error) }, 'entry service'),
    fault(where, error) {
      m.faults.inc()
      log.error({ where, err: error }, 'fault')
    },
  }
}

export function createEvents(log: Logger, read: () => Readings, clock: Pick<Clock, 'monotonic'>): Events {
  const registry = new Registry()
  const m = meters(registry)
  gauges(registry, keptReading(read, clock))
  const say = sayingSome(log, clock)
  return {
    relay: relayEvents(say, m),
    node: nodeEvents(log, say, m),
    gateway: gatewayEvents(log, say, m),
    accounts: accountEvents(log, say, m),
    process: processEvents(log, m),
    metrics: () => registry.metrics(),
  }
}
