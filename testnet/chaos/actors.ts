// The processes that suffer, relays, entry node and clients, behind one face: what is done to one of them is done in turn.
import type { Client, Person } from '../clients/client.ts'
import { startClient } from '../clients/client.ts'
import type { Partner } from '../clients/orders.ts'
import type { ManagedProcess } from '../process.ts'
import { type Faults, NO_FAULTS, writeFaults } from './faults.ts'

export type Actor = {
  readonly name: string
  /** Where its store lies; undefined for what has none that could lose power. */
  readonly store: string | undefined
  pid(): number | undefined
  start(): Promise<void>
  kill(): Promise<void>
  /** Resolves when it has ended by itself, which is no surprise from now on. */
  ends(): Promise<void>
  signal(signal: NodeJS.Signals): void
  /** From now on, and after its next start. */
  suffer(faults: Partial<Faults>): void
  /** One after the other. */
  turn<T>(act: () => Promise<T>): Promise<T>
}

function turns(): Actor['turn'] {
  let last: Promise<unknown> = Promise.resolve()
  return (act) => {
    const mine = last.then(act)
    last = mine.catch(() => undefined)
    return mine
  }
}

function sufferer(file: string, signal: (signal: NodeJS.Signals) => void, isUp: () => boolean): Actor['suffer'] {
  let now = NO_FAULTS
  return (faults) => {
    now = { ...now, ...faults }
    writeFaults(file, now)
    if (isUp()) signal('SIGUSR2')
  }
}

export function processActor(
  name: string,
  process: ManagedProcess,
  faultsFile: string | undefined,
  store: string | undefined,
): Actor {
  const isUp = (): boolean => process.pid !== undefined
  return {
    name,
    store,
    pid: () => process.pid,
    start: () => process.start(),
    kill: async () => void (await process.kill()),
    ends: async () => void (await process.ends()),
    signal: (signal) => process.signal(signal),
    suffer: faultsFile === undefined ? () => undefined : sufferer(faultsFile, (it) => process.signal(it), isUp),
    turn: turns(),
  }
}

export type PersonActor = Actor & {
  readonly person: Person
  client(): Client
  /** Lines a second to each, now and after its next start. */
  pace(perSecond: number): Promise<void>
  /** Messages of others that reached it, all its lives long. */
  received(): number
  stop(): Promise<void>
}

export type Talker = {
  readonly person: Person
  readonly journal: string
  readonly to: readonly Partner[]
  readonly faultsFile: string
  readonly fault: (what: string) => void
}

export function personActor({ person, journal, to, faultsFile, fault }: Talker): PersonActor {
  let running: Client | undefined
  let perSecond = 0
  let before = 0
  const client = (): Client => {
    if (!running) throw new Error(`the client of ${person.name} does not run`)
    return running
  }
  const signal = (it: NodeJS.Signals): void => running?.signal(it)
  let ending: Client | undefined
  const gone = (it: Client): void => {
    if (running !== it) return
    if (ending !== it) fault(`the client of ${person.name} has ended by itself`)
    before += it.received
    for (const what of it.faults) fault(what)
    running = undefined
  }
  return {
    name: person.name,
    person,
    store: undefined,
    client,
    pid: () => running?.pid,
    async start() {
      const it = await startClient(person)
      running = it
      void it.exited.then(() => gone(it))
      await it.ask({ do: 'talk', journal, to, perSecond })
    },
    async kill() {
      ending = client()
      ending.signal('SIGKILL')
      await ending.exited
    },
    async ends() {
      ending = client()
      await ending.exited
    },
    async stop() {
      ending = client()
      await ending.stop()
    },
    signal,
    suffer: sufferer(faultsFile, signal, () => running !== undefined),
    turn: turns(),
    async pace(rate) {
      perSecond = rate
      // A process that is killed meanwhile starts with the new one.
      await running?.ask({ do: 'pace', perSecond }).catch(() => undefined)
    },
    received: () => before + (running?.received ?? 0),
  }
}
