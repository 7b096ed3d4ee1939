// What is known of one conversation that comes here, and asking about it: not too often, and after the commit that what
// is asked was computed from.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  type ConvId,
  encodeIntro,
  epochOf,
  FetchSchema,
  type Home,
  ItemKind,
  NOWHERE,
  nOf,
  openClosed,
  ParleyError,
  type Position,
  type RegionId,
  readHostRegister,
  regionIdOf,
  TakeoverSchema,
  type TakeoverState,
  type UserId,
  userIdBytes,
} from '#protocol'
import { type Answer, type Arrival, type Forcing, newArrival } from './arrivals.ts'
import type { Builder, Building } from './building.ts'
import type { Conversation } from './conversation.ts'
import type { Core } from './core.ts'
import { findHomes, foundingOf } from './founding.ts'
import { introduce } from './introductions.ts'
import type { RuleLimits } from './limits.ts'
import type { RelayPorts } from './ports.ts'
import { wasAway } from './residence.ts'

export type Coming = {
  readonly id: ConvId
  readonly genesis: Uint8Array
  readonly users: readonly UserId[]
  readonly homes: readonly Home[]
  /** What is here already: it stays in memory meanwhile. */
  readonly existing: Conversation | undefined
  /** Of that one, when this was begun; 0 for none. */
  readonly epoch: number
  /** Those who came. */
  readonly awaited: readonly UserId[]
  /** This region is to host it, once it has what those others had where they lived. */
  readonly hostsLater: boolean
  /** Regions that spoke of it meanwhile: they hear what became of it. */
  readonly spoke: Set<RegionId>
  /** The region on whose word alone it is looked for; undefined: something of it is here, or a device here needs it. */
  word: RegionId | undefined
  arrival: Arrival
  forcing: Forcing | undefined
  round: number
  /** What was decided, or is signed by the old host alone. */
  payload: Uint8Array | undefined
  building: Building | undefined
  readonly asked: Map<string, number>
  /** When something that came did not fit; it is begun anew some time later. */
  failedMs: number | undefined
}

/** Nothing of it has come yet, and nobody was asked. */
export const newComing = (
  init: Pick<Coming, 'id' | 'genesis' | 'users' | 'homes' | 'existing' | 'awaited' | 'arrival' | 'hostsLater' | 'word'>,
): Coming => ({
  ...init,
  epoch: init.existing?.epoch ?? 0,
  ...{
    spoke: new Set(),
    asked: new Map(),
    forcing: undefined,
    round: 0,
    payload: undefined,
    building: undefined,
    failedMs: undefined,
  },
})

/** All of it, from its host. Undefined when it is not known where members live. */
export function comingAnew(
  conv: Conversation,
  { directory, region: here, clock }: Pick<RelayPorts, 'directory' | 'region' | 'clock'>,
): Coming | undefined {
  const users = conv.members.map(({ userId }) => userId)
  const homes = users.flatMap((user) => directory.knownHome(user) ?? [])
  if (homes.length < users.length) return undefined
  const from = { others: [], homes: [], required: [conv.host], candidates: [conv.host], sinceMs: clock.monotonic() }
  return newComing({
    ...{ id: conv.id, genesis: conv.genesisBytes, users, homes, existing: conv, hostsLater: false, word: undefined },
    awaited: users.filter((_, m) => conv.members[m]!.local),
    arrival: newArrival({ opens: 0, here, hosted: 0, hasSome: true, ...from }),
  })
}

/** Throws `conflict` when it answers something else. */
export function answerOf({ id, arrival }: Coming, from: RegionId, state: TakeoverState, nowMs: number): Answer {
  const closed = state.closed && arrival.opens > 0 ? openClosed(state.closed, nowMs) : undefined
  if (closed && (closed.convId !== id || closed.region !== from || closed.beforeEpoch !== arrival.opens))
    throw new ParleyError('conflict', 'a statement about something else')
  const regionOf = (bytes: Uint8Array): RegionId | undefined => (bytes.length > 0 ? regionIdOf(bytes) : undefined)
  const { epoch, beforeKeeps } = state
  return { host: regionOf(state.hostRegion), epoch, closed, before: regionOf(state.beforeRegion), beforeKeeps }
}

/** What came, or what was here, or nothing yet. Throws `conflict` when less came than was closed. */
export function conversationOf(
  coming: Coming,
  existing: Conversation | undefined,
  { core, builder }: { readonly core: Core; readonly builder: Builder },
): Conversation {
  const { id, genesis, homes, building } = coming
  if (!building) {
    const founding = foundingOf(id, genesis, (user) => core.ports.directory.knownHome(user))
    return existing ?? core.convs.found(founding)
  }
  const closed = coming.payload && readHostRegister(coming.payload, core.ports.clock.now())
  if (closed && building.head < closed.cut) throw new ParleyError('conflict', 'handed over less than was closed')
  if (existing) {
    builder.extend(existing, building)
    return existing
  }
  const members = homes.map(({ userId, homeRegion, homeGeneration }) => ({
    userId,
    region: homeRegion,
    since: homeGeneration,
  }))
  return builder.build(building, { genesisBytes: genesis, members, ...hostBefore(coming, building.from) })
}

/** Who hosts what comes from there, or did, as that region says. */
function hostBefore(
  { arrival, homes, payload }: Coming,
  from: RegionId,
): { readonly host: RegionId; readonly epoch: number } {
  const answer = arrival.answers.get(from)
  const [said, epoch] = [answer?.host ?? from, answer?.epoch || 1]
  const { homeRegion, homeGeneration } = homes[0]!
  if (said !== arrival.here || payload || (homeRegion === said && homeGeneration === 1)) return { host: said, epoch }
  // Whoever was told of a move to here believes that it is hosted here: there is no register, and nobody hosts a later
  // epoch than the first without.
  return { host: homeRegion === said ? from : homeRegion, epoch }
}

type Known = {
  /** Of the store. */
  readonly life: number
  readonly users: readonly UserId[]
  readonly homes: readonly Home[]
  readonly existing: Conversation | undefined
  readonly hint: RegionId | undefined
  readonly asHost: boolean
}

/** Whom to ask for what; `undefined` when there is nothing to wait for. */
export function startOf(
  { users, homes, existing, hint, asHost, life }: Known,
  { directory, region: here, clock }: Pick<RelayPorts, 'directory' | 'region' | 'clock'>,
): Pick<Coming, 'awaited' | 'arrival' | 'hostsLater'> | undefined {
  const host = homes[0]!
  const isNewer = host.homeGeneration > Math.max(existing?.epoch ?? 1, 1)
  // Whose account is of before the store went back has to come home first, to a later generation.
  const isHome = life === 1 || directory.knownManifest(users[0]!) !== undefined
  const hosts = host.homeRegion === here && isNewer && isHome
  // Of a conversation that may have gone on without this store nobody who lives here has anything until it has come.
  const isOld = hosts && existing !== undefined && existing.life < life
  const isHere = (m: number): boolean => {
    const member = existing?.members[m]
    return member?.local === true && !wasAway(member, directory.formerHome(member.userId))
  }
  const came = users.filter((_, m) => homes[m]!.homeRegion === here && (isOld || !isHere(m)))
  if (!hosts && came.length === 0) return undefined
  const formerOf = (user: UserId): RegionId[] => {
    const former = directory.formerHome(user)
    return former && !former.gone && former.region !== here ? [former.region] : []
  }
  // The old host has not kept what another home had for somebody: that comes first.
  const guests = came.filter((user) => user !== users[0])
  const hostsLater = hosts && !asHost && guests.some((user) => formerOf(user).length > 0)
  const awaited = hostsLater ? guests : came
  const opens = hosts && !hostsLater ? host.homeGeneration : 0
  const others = users.flatMap((user, m) => {
    if (m === 0) return []
    // A former home that is given up decides nothing any more: what came from there came here.
    return awaited.includes(user) ? (formerOf(user)[0] ?? here) : homes[m]!.homeRegion
  })
  const living = users.flatMap((user, m) => (m === 0 || awaited.includes(user) ? [] : homes[m]!.homeRegion))
  const candidates = [
    ...(existing && opens > 0 ? [existing.host] : []),
    ...awaited.flatMap((user) => directory.formerHome(user)?.region ?? []),
    ...(hint ? [hint] : []),
    ...homes.map(({ homeRegion }) => homeRegion),
  ]
  // Whoever decides about the host has always lived here: what is not here is nowhere. Unless the store went back since.
  const isBehind = isOld && others.some((region) => region !== here)
  const isFirst = host.homeRegion === here && host.homeGeneration === 1
  const hosted = isBehind ? 0 : existing?.hostedHere ? existing.epoch : isFirst ? 1 : 0
  const required = awaited.flatMap(formerOf)
  const hasSome = existing !== undefined && existing.head > NOWHERE
  const asked = { others, homes: living, required, candidates }
  const arrival = newArrival({ opens, here, hosted, hasSome, ...asked, sinceMs: clock.monotonic() })
  return { awaited, arrival, hostsLater }
}

/** Conversations whose members are looked up at a time. */
const LOOKING_UP_MAX = 8

type AskingLimits = Pick<RuleLimits, 'takeoverAgainMs' | 'lookUpAgainMs'>

export class Asking {
  readonly #core: Core
  readonly #limits: AskingLimits
  #lookingUp = 0

  constructor(core: Core, limits: AskingLimits) {
    this.#core = core
    this.#limits = limits
  }

  /** What that region has of it, and for those who came. */
  ask(coming: Coming, region: RegionId): void {
    if (!this.isDue(coming, region)) return
    const epoch = coming.homes[0]!.homeGeneration
    const userId = coming.awaited.map(userIdBytes)
    const body = toBinary(TakeoverSchema, create(TakeoverSchema, { epoch, genesis: coming.genesis, userId }))
    this.send(region, coming, ItemKind.TAKEOVER, body)
  }

  /** The page behind that place. */
  fetch(coming: Coming, region: RegionId, after: Position): void {
    if (!this.isDue(coming, `page ${after}`)) return
    const body = toBinary(FetchSchema, create(FetchSchema, { epoch: epochOf(after), n: nOf(after) }))
    this.send(region, coming, ItemKind.FETCH, body)
  }

  /** After the commit that it was computed from: a round is kept before it is spoken of. */
  send(region: RegionId, coming: Coming, kind: number, body: Uint8Array): void {
    const { outbox, store, ports } = this.#core
    if (!ports.links.isUp(region)) {
      ports.links.want(region)
      return
    }
    const homeRecords = coming.homes.map(({ record }) => record)
    const intro = encodeIntro(coming.genesis, homeRecords)
    outbox.after(store.gate(), region, { conv: coming.id, kind: ItemKind.INTRO, body: intro })
    outbox.after(store.gate(), region, { conv: coming.id, kind, body })
  }

  /** Somebody moved on before anything had come: those who were asked for it would not hear of that elsewhere. */
  sayWhoMoved({ id, genesis, arrival }: Coming, homes: readonly Home[]): void {
    const { links, region: here } = this.#core.ports
    const homeRecords = homes.map(({ record }) => record)
    for (const region of new Set([...arrival.candidates, ...homes.map(({ homeRegion }) => homeRegion)]))
      if (region !== here && links.isUp(region)) introduce(links, region, { id, genesis, homeRecords })
  }

  /** Whoever is asked does not answer: perhaps members do not live there any more. */
  lookUp(coming: Coming, found: () => void): void {
    if (this.#lookingUp >= LOOKING_UP_MAX || !this.isDue(coming, 'homes', this.#limits.lookUpAgainMs)) return
    this.#lookingUp++
    const { load, ports } = this.#core
    load(findHomes(ports, coming.users, { fresh: true }), () => {
      this.#lookingUp--
      found()
    })
  }

  isDue(coming: Coming, what: string, everyMs = this.#limits.takeoverAgainMs): boolean {
    const now = this.#core.ports.clock.monotonic()
    if (now - (coming.asked.get(what) ?? Number.NEGATIVE_INFINITY) < everyMs) return false
    coming.asked.set(what, now)
    return true
  }
}
