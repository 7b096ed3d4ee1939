// What is known of one conversation that comes here, and asking about it: not too often, and after the commit that what
// is asked was computed from.
import { create, toBinary } from '@bufbuild/protobuf'
import { type ConvId, type Home, IntroSchema, ItemKind, type RegionId, type UserId } from '#protocol'
import type { Arrival, Forcing } from './arrivals.ts'
import type { Building } from './building.ts'
import type { Core } from './core.ts'

export type Coming = {
  readonly id: ConvId
  readonly genesis: Uint8Array
  readonly users: readonly UserId[]
  readonly homes: readonly Home[]
  /** Those who came. */
  readonly awaited: readonly UserId[]
  arrival: Arrival
  forcing: Forcing | undefined
  round: number
  /** What was decided, or is signed by the old host alone. */
  payload: Uint8Array | undefined
  building: Building | undefined
  readonly asked: Map<string, number>
}

export class Asking {
  readonly #core: Core
  readonly #againMs: number

  constructor(core: Core, againMs: number) {
    this.#core = core
    this.#againMs = againMs
  }

  /** After the commit that it was computed from: a round is kept before it is spoken of. */
  send(region: RegionId, coming: Coming, kind: number, body: Uint8Array): void {
    const { outbox, store, ports } = this.#core
    if (!ports.links.isUp(region)) {
      ports.links.want(region)
      return
    }
    const homeRecords = coming.homes.map(({ record }) => record)
    const intro = toBinary(IntroSchema, create(IntroSchema, { genesis: coming.genesis, homeRecords }))
    outbox.after(store.gate(), region, { conv: coming.id, kind: ItemKind.INTRO, body: intro })
    outbox.after(store.gate(), region, { conv: coming.id, kind, body })
  }

  /** Not more often than every AGAIN ms. */
  isDue(coming: Coming, what: string): boolean {
    const now = this.#core.ports.clock.monotonic()
    if (now - (coming.asked.get(what) ?? Number.NEGATIVE_INFINITY) < this.#againMs) return false
    coming.asked.set(what, now)
    return true
  }
}
