// Devices of several people on a virtual clock around one scripted home, each with a database that can crash.

import { type DeviceKey, type Random, SimulatedClock, simulatedRandom, type UserId } from '#protocol'
import {
  createDevice,
  type Device,
  type DeviceEvent,
  type HomeSession,
  type MemoryDb,
  type Message,
  memoryDb,
} from '../rules.ts'
import { type Person, ScriptedHome } from './scripted-home.ts'
import { standInCipher } from './stand-in-cipher.ts'

/** What a device that was left behind by a restart runs into. */
const CRASHED_DB = 'the database has crashed'

const STEPS_MAX = 20_000

export type Actor = {
  readonly person: Person
  readonly id: UserId
  readonly key: DeviceKey
  db: MemoryDb
  device: Device
  session: HomeSession | undefined
  readonly events: DeviceEvent[]
  crashes: number
}

export class World {
  readonly clock = new SimulatedClock(1_700_000_000_000)
  readonly random: Random
  readonly home: ScriptedHome
  readonly actors: Actor[] = []

  constructor(seed: number) {
    this.random = simulatedRandom(seed)
    this.home = new ScriptedHome(this.clock, this.random)
  }

  /** `beforeOperation` may throw to crash the device there. */
  async add(
    beforeOperation?: (operation: string) => void,
    cipher: typeof standInCipher = standInCipher,
  ): Promise<Actor> {
    const person = this.home.register(this.random)
    const { number, registrationEpoch, registrationVersion } = person.account.device
    const key = { device: number, registrationEpoch, registrationVersion }
    const db = memoryDb({ beforeOperation: undefined })
    const actor = {
      person,
      id: person.manifest.userId,
      key,
      db,
      session: undefined,
      events: [],
      crashes: 0,
    } as unknown as Actor
    this.actors.push(actor)
    actor.device = this.#make(actor, cipher)
    await actor.device.learn(person.manifest)
    if (!beforeOperation) return actor
    await actor.device.stop()
    actor.db = db.hooked(beforeOperation)
    this.#open(actor, cipher)
    return actor
  }

  /** A device that is killed while it starts is started again. */
  #open(actor: Actor, cipher: typeof standInCipher): void {
    for (;;) {
      actor.db = actor.db.crash()
      try {
        actor.device = this.#make(actor, cipher)
        return
      } catch (error) {
        if ((error as Error).message !== 'crash') throw error
        actor.crashes++
      }
    }
  }

  #make(actor: Actor, cipher: typeof standInCipher): Device {
    const self = { userId: actor.id, ...actor.key }
    return createDevice({
      self,
      clock: this.clock,
      random: this.random,
      db: actor.db,
      cipher: cipher(actor.db, self, this.random),
      directory: this.home.directory(),
      events: (event) => {
        if (event.type !== 'broken') actor.events.push(event)
        else if (event.error.message !== CRASHED_DB) this.#crashed(actor, event.error, cipher)
      },
    })
  }

  #crashed(actor: Actor, error: Error, cipher: typeof standInCipher): void {
    if (error.message !== 'crash') throw error
    actor.crashes++
    this.home.disconnect(actor.id, actor.key)
    this.restart(actor, cipher)
  }

  /** The process is gone; another one starts on what was committed, and signs in a little later. */
  restart(actor: Actor, cipher: typeof standInCipher = standInCipher): void {
    this.home.disconnect(actor.id, actor.key)
    this.#open(actor, cipher)
    this.clock.after(5, () => this.connect(actor))
  }

  connect(actor: Actor): void {
    const { device } = actor
    const session = this.home.connect(actor.id, actor.key, (home, frame) => device.receive(home, frame))
    actor.session = session
    device.online(session)
  }

  disconnect(actor: Actor): void {
    this.home.disconnect(actor.id, actor.key)
    if (actor.session) actor.device.offline(actor.session)
  }

  async settle(): Promise<void> {
    for (const actor of this.actors) await actor.device.settled()
  }

  /** Until nothing more happens within two minutes. */
  async run(): Promise<void> {
    if (await this.steps(STEPS_MAX)) throw new Error('this world does not come to rest')
  }

  /** False when there was nothing left to do before. */
  async steps(count: number): Promise<boolean> {
    await this.settle()
    for (let i = 0; i < count; i++) {
      if (!this.clock.step(this.clock.now() + 120_000)) return false
      await this.settle()
    }
    return true
  }
}

export function messagesOf(actor: Actor): Message[] {
  return actor.events.flatMap((event) => (event.type === 'message' ? [event.message] : []))
}

export const bodyText = (message: { readonly body: Uint8Array }): string => Buffer.from(message.body).toString()
export const content = (text: string) => ({ kind: 'text' as const, body: new Uint8Array(Buffer.from(text)) })
