// Carries a schedule out. What is done to one process is done in turn; whatever is still going on when the round heals
// ends then.
import { ParleyError, type Random, systemClock } from '#protocol'
import { sharedMs } from '../clients/orders.ts'
import type { Actor } from './actors.ts'
import { conditionOf } from './conditions.ts'
import { NO_FAULTS } from './faults.ts'
import { DIES_MAX_MS, FAULTS_MS, START_TRIES } from './limits.ts'
import { losePower } from './power.ts'
import type { Fault, Kill, Scheduled } from './schedule.ts'
import type { Stage } from './stage.ts'
import { pause } from './stage.ts'

/** A process that was killed. Times are `sharedMs`. */
export type Killed = {
  readonly name: string
  readonly kind: Kill['kind']
  readonly atMs: number
  /** It was ready again; undefined when it was killed before. */
  readonly upMs: number | undefined
  /** Bytes that a power failure took; undefined without one. */
  readonly lostBytes: number | undefined
}
/** Anything else that happened. */
export type Happened = { readonly what: string; readonly name: string; readonly atMs: number; readonly ms: number }

export type Conducted = {
  readonly kills: readonly Killed[]
  readonly happened: readonly Happened[]
  /** Processes that did not come up again. */
  readonly faults: readonly string[]
}

export function createConductor(stage: Stage, random: Random) {
  const kills: Killed[] = []
  const happened: Happened[] = []
  const faults: string[] = []
  let healed = Promise.withResolvers<void>()

  const actorOf = (name: string): Actor => {
    const actor = stage.actors.get(name)
    if (!actor) throw new Error(`nobody is called ${name}`)
    return actor
  }
  /** Until then, or until everything heals. */
  const rest = (ms: number): Promise<void> => Promise.race([pause(ms), healed.promise])

  async function started(actor: Actor): Promise<boolean> {
    for (let i = 1; ; i++) {
      try {
        await actor.start()
        return true
      } catch (error) {
        // A machine with too much to do is no fault of those who start on it.
        if (error instanceof ParleyError && error.code === 'timeout' && i < START_TRIES) continue
        faults.push(`${actor.name} did not start again: ${error instanceof Error ? error.message : String(error)}`)
        return false
      }
    }
  }

  async function endOne(actor: Actor, { kind, dies, frames }: Kill): Promise<number> {
    const person = stage.people.find((it) => it.name === actor.name)
    const isOrder = kind === 'in a write' || kind === 'before a frame'
    if (isOrder) {
      const ended = actor.ends()
      if (kind === 'in a write') actor.suffer({ dies })
      else
        person
          ?.client()
          .ask({ do: 'die', frames })
          .catch(() => undefined)
      await Promise.race([ended, pause(DIES_MAX_MS)])
    }
    const atMs = sharedMs()
    if (actor.pid() !== undefined) await actor.kill()
    if (kind === 'in a write') actor.suffer({ dies: 'no' })
    return atMs
  }

  async function lose(store: string): Promise<number> {
    const { journal, logs } = await losePower(store, random)
    return journal + logs
  }

  /** Starts and is killed before it is ready, or a moment later. */
  async function killStarting(actor: Actor, kill: Kill): Promise<void> {
    const starting = actor.start().catch(() => undefined)
    await pause(kill.startingMs)
    const atMs = sharedMs()
    await actor.kill()
    await starting
    const lostBytes = kill.power && actor.store ? await lose(actor.store) : undefined
    kills.push({ name: actor.name, kind: kill.kind, atMs, upMs: undefined, lostBytes })
  }

  async function killOne(actor: Actor, kill: Kill): Promise<void> {
    const atMs = await endOne(actor, kill)
    const lostBytes = kill.power && actor.store ? await lose(actor.store) : undefined
    await rest(kill.downMs)
    if (kill.kind === 'taking over') await killStarting(actor, kill)
    const up = await started(actor)
    kills.push({ name: actor.name, kind: kill.kind, atMs, upMs: up ? sharedMs() : undefined, lostBytes })
  }

  async function stop(actor: Actor, ms: number): Promise<void> {
    const pid = actor.pid()
    actor.signal('SIGSTOP')
    await rest(ms)
    if (actor.pid() === pid) actor.signal('SIGCONT')
  }

  async function disturbStore({ kind, target, ms, fsyncMs }: Fault & { is: 'store' }): Promise<void> {
    const actor = actorOf(target)
    if (kind === 'failing disk') {
      await actor.turn(async () => {
        const ended = actor.ends()
        actor.suffer({ disk: 'failing' })
        await Promise.race([ended, pause(DIES_MAX_MS)])
        if (actor.pid() !== undefined) await actor.kill()
        actor.suffer({ disk: 'fine' })
        await started(actor)
      })
      return
    }
    await actor.turn(async () => actor.suffer(kind === 'full disk' ? { disk: 'full' } : { fsyncMs }))
    await rest(ms)
    await actor.turn(async () => actor.suffer(kind === 'full disk' ? { disk: 'fine' } : { fsyncMs: 0 }))
  }

  async function act(fault: Fault): Promise<void> {
    if (fault.is === 'kill') {
      const all = fault.targets.map(actorOf)
      await Promise.all(all.map((it) => it.turn(async () => (it.pid() === undefined ? undefined : killOne(it, fault)))))
      return
    }
    if (fault.is === 'network') {
      const end = stage.weather.begin(conditionOf(fault))
      await (fault.kind === 'reset' ? undefined : rest(fault.ms))
      end()
      return
    }
    if (fault.is === 'store') return await disturbStore(fault)
    const actor = actorOf(fault.target)
    if (fault.is === 'pause') {
      const { promise, resolve } = Promise.withResolvers<void>()
      void actor.turn(async () => resolve(stop(actor, fault.ms)))
      return await promise
    }
    await actor.turn(async () => actor.suffer({ skewMs: fault.skewMs }))
    await rest(fault.ms)
    await actor.turn(async () => actor.suffer({ skewMs: 0 }))
  }

  async function perform(fault: Fault): Promise<void> {
    const atMs = sharedMs()
    await act(fault)
    if (fault.is === 'kill') return
    const what = fault.is === 'network' || fault.is === 'store' ? fault.kind : fault.is
    const name = fault.is === 'network' ? fault.pair.join(' and ') : fault.target
    happened.push({ what, name, atMs, ms: sharedMs() - atMs })
  }

  return {
    /** One round of faults; resolves when everything has healed and every process runs. */
    async conduct(schedule: readonly Scheduled[]): Promise<void> {
      healed = Promise.withResolvers()
      const began = systemClock.monotonic()
      const going: Promise<void>[] = []
      for (const { atMs, fault } of schedule) {
        await pause(began + atMs - systemClock.monotonic())
        going.push(perform(fault))
      }
      await pause(began + FAULTS_MS - systemClock.monotonic())
      healed.resolve()
      for (const actor of stage.actors.values()) actor.signal('SIGCONT')
      await Promise.all(going)
      await Promise.all([...stage.actors.values()].map((it) => it.turn(async () => it.suffer(NO_FAULTS))))
    },
    conducted: (): Conducted => ({ kills, happened, faults }),
  }
}
