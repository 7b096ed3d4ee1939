// A home before goes on taking in what comes for somebody until it hears that they live elsewhere; nobody else would tell
// it. So the new home says it, again and again, until that region knows and keeps nothing that they have not got. Whom
// it has to be told of are rows, which outlive this node and the person's moving on.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  type ConvId,
  convIdBytes,
  convIdOf,
  type Home,
  type HomeRecord,
  ItemKind,
  type Moved,
  MovedSchema,
  type MovedState,
  MovedStateSchema,
  openHomeRecord,
  ParleyError,
  type RegionId,
  type UserId,
  userIdBytes,
  userIdOf,
} from '#protocol'
import type { Store } from '../store/types.ts'
import { ByteReader, ByteWriter } from './bytes.ts'
import { inboxPartition, readNumber, writeNumber } from './conversation-rows.ts'
import type { Core } from './core.ts'
import { learnHomes } from './founding.ts'
import type { FormerHome } from './ports.ts'
import { Round } from './round.ts'

/** Partition: `u<region> <user>` has to be told of this home generation or a later one, `t<user>` was. */
const FORMER = 'm'
const UNTOLD = 'u'
/** People of whom a region hears at once. */
const PAGE = 32

const untoldOf = (region: RegionId): string => `${UNTOLD}${region} `
const untoldKey = (region: RegionId, user: UserId): string => `${untoldOf(region)}${user}`
const toldKey = (user: UserId): string => `t${user}`
const endOf = (prefix: string): string => `${prefix}~`

/** The home generation that a region has to hear of, and whether it was given up: then nobody waits for what it kept. */
const writeUntold = (generation: number, gone: boolean): Uint8Array =>
  new ByteWriter()
    .u53(generation)
    .u8(gone ? 1 : 0)
    .done()

/** A home before has to hear that somebody lives elsewhere in this home generation. */
export function oweTelling(
  store: Pick<Store, 'put'>,
  user: UserId,
  { region, gone }: Pick<FormerHome, 'region' | 'gone'>,
  generation: number,
): void {
  store.put(FORMER, untoldKey(region, user), writeUntold(generation, gone))
}

function readUntold(row: Uint8Array): { generation: number; gone: boolean } {
  const from = new ByteReader(row)
  return { generation: from.u53(), gone: from.u8() === 1 }
}

/** How an item names a person: 32 bytes like those of a conversation. */
const nameOf = (user: UserId): ConvId => convIdOf(userIdBytes(user))

export class FormerHomes {
  readonly #core: Core
  readonly #againMs: number
  /** Their conversations are looked at: they follow. */
  readonly #left: (user: UserId) => void
  /** Regions that have to be told of somebody. */
  readonly #rounds = new Map<RegionId, Round>()

  constructor(core: Core, againMs: number, left: (user: UserId) => void) {
    this.#core = core
    this.#againMs = againMs
    this.#left = left
  }

  /** Everybody of whom that region has to be told, at once and then ever more rarely. */
  #begin(region: RegionId): void {
    const prefix = untoldOf(region)
    const rows = { partition: FORMER, behind: prefix, to: endOf(prefix), pageRows: PAGE, againMs: this.#againMs }
    this.#rounds.set(region, new Round(rows, Number.NEGATIVE_INFINITY))
  }

  /** Whom a former boot has not told. */
  start(from = UNTOLD): void {
    const { store, load } = this.#core
    load(store.range(FORMER, { from, to: endOf(UNTOLD), limit: 1, reverse: false }), ([row]) => {
      if (!row) return
      const region = row[0].slice(UNTOLD.length, row[0].indexOf(' ')) as RegionId
      if (!this.#rounds.has(region)) this.#begin(region)
      this.start(endOf(untoldOf(region)))
    })
  }

  /** Of somebody who lives here: a former home has to hear of it, unless it has. */
  tellOf(user: UserId): void {
    const { ports, store, load } = this.#core
    const former = ports.directory.formerHome(user)
    const home = ports.directory.knownHome(user)
    if (!former || home?.homeRegion !== ports.region || former.region === ports.region) return
    const { homeGeneration } = home
    load(store.get(FORMER, toldKey(user)), (told) => {
      if (told && readNumber(told) >= homeGeneration) return
      oweTelling(store, user, former, homeGeneration)
      this.#begin(former.region)
    })
  }

  /** Where somebody lived before, if it has not said yet that it keeps nothing for them. Not what they have given up. */
  async keeping(user: UserId): Promise<RegionId[]> {
    const { store, ports } = this.#core
    const found: RegionId[] = []
    for (const region of this.#rounds.keys()) {
      const row = region === ports.region ? undefined : await store.get(FORMER, untoldKey(region, user))
      if (row && !readUntold(row).gone) found.push(region)
    }
    return found
  }

  linkUp(region: RegionId): void {
    if (this.#rounds.has(region)) this.#begin(region)
  }

  tick(): void {
    const { links, clock } = this.#core.ports
    const now = clock.monotonic()
    for (const [region, round] of this.#rounds) {
      if (!round.isDue(now)) continue
      round.dueMs = now + this.#againMs
      if (links.isUp(region)) this.#tell(region, round)
      else links.want(region)
    }
  }

  #tell(region: RegionId, round: Round): void {
    round.next(this.#core, (keys, none) => {
      if (this.#rounds.get(region) !== round) return
      if (none) this.#rounds.delete(region)
      for (const key of keys) this.#tellOf(region, key.slice(untoldOf(region).length) as UserId)
    })
  }

  #tellOf(region: RegionId, user: UserId): void {
    const { load, ports, store } = this.#core
    load(
      ports.directory.findHome(user).catch(() => undefined),
      (home) => {
        if (!home) return
        // Who went back there needs no telling.
        if (home.homeRegion === region) store.delete(FORMER, untoldKey(region, user))
        else this.#send(region, user, home.record)
      },
    )
  }

  #send(region: RegionId, user: UserId, home: HomeRecord): void {
    const body = toBinary(MovedSchema, create(MovedSchema, { home }))
    this.#core.outbox.after(this.#core.store.gate(), region, { conv: nameOf(user), kind: ItemKind.MOVED, body })
  }

  /** A region says that somebody lives elsewhere: the record proves it, whoever says it. */
  onMoved(region: RegionId, name: ConvId, { home: record }: Moved): void {
    const { ports, load } = this.#core
    const said = openHomeRecord(record!, ports.clock.now())
    const user = said.userId
    if (nameOf(user) !== name) throw new ParleyError('bad_id', 'a home record of somebody else')
    // Only an account in memory can be given up at once.
    load(
      ports.directory.findHome(user).catch(() => undefined),
      () => {
        learnHomes([record!], ports.directory, ports.clock.now())
        const known = ports.directory.knownHome(user)
        if (!known || known.homeGeneration < said.homeGeneration) return
        this.#left(user)
        this.#tellBefore(known, () => this.#answerWhenEmpty(region, known))
      },
    )
  }

  /** Where they lived before they were here: a crash may have taken that it was to be told of that, and nobody else will. */
  #tellBefore({ userId, homeRegion, homeGeneration }: Home, then: () => void): void {
    const { load, ports, store } = this.#core
    const finding = ports.directory.findFormerHome(userId).catch(() => undefined)
    load(Promise.all([finding, store.get(FORMER, toldKey(userId))]), ([former, told]) => {
      const isElsewhere = former && former.region !== ports.region && former.region !== homeRegion
      // In the generation before, or an earlier one, they lived here.
      if (isElsewhere && !(told && readNumber(told) >= homeGeneration - 1)) {
        oweTelling(store, userId, former, homeGeneration)
        if (!this.#rounds.has(former.region)) this.#begin(former.region)
      }
      then()
    })
  }

  /** What waits here for somebody who lives elsewhere is handed over first; the question comes again. */
  #answerWhenEmpty(region: RegionId, { userId, homeRegion, homeGeneration }: Home): void {
    const { store, load, inboxes, ports, outbox } = this.#core
    const first = { from: undefined, to: undefined, limit: 1, reverse: false }
    // What a home before this one keeps never came here, and is not with who asks either.
    load(Promise.all([store.range(inboxPartition(userId), first), this.keeping(userId)]), ([rows, keeping]) => {
      const waits = rows.length > 0 || inboxes.unwritten(userId).length > 0 || keeping.length > 0
      if (waits && homeRegion !== ports.region) return
      const body = toBinary(MovedStateSchema, create(MovedStateSchema, { generation: homeGeneration }))
      outbox.after(store.gate(), region, { conv: nameOf(userId), kind: ItemKind.MOVED_STATE, body })
    })
  }

  onState(region: RegionId, name: ConvId, { generation }: MovedState): void {
    const { store, load } = this.#core
    const user = userIdOf(convIdBytes(name))
    const key = untoldKey(region, user)
    load(store.get(FORMER, key), (row) => {
      if (!row || readUntold(row).generation > generation) return
      store.delete(FORMER, key)
      store.put(FORMER, toldKey(user), writeNumber(generation))
    })
  }
}
