// Relays with a proxy in front of each of their ports, an entry node, people with clients: everything that a run needs,
// each process with its address, its faults and its turn.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Random, systemClock } from '#protocol'
import type { Person } from '../clients/client.ts'
import type { Partner } from '../clients/orders.ts'
import { launchTestnet, type Testnet } from '../launch.ts'
import { launchAccount } from '../people.ts'
import { type Exit, type ManagedProcess, NOTHING_PRELOADED, type Preload } from '../process.ts'
import { type Actor, type PersonActor, personActor, processActor } from './actors.ts'
import { ADDRESS_VARIABLE, FAULTS_VARIABLE, NO_FAULTS, writeFaults } from './faults.ts'
import { FIND_AGAIN_MS, FIND_TRIES } from './limits.ts'
import { faultProxy } from './proxy.ts'
import type { Cast } from './schedule.ts'
import { createWeather, type Weather } from './weather.ts'

const HOOK = pathToFileURL(join(import.meta.dirname, 'fault-hook.ts')).href

export const REGIONS = ['east', 'mid', 'north', 'south', 'west'] as const
/** Two of them live in one region. */
export const HOMES: Readonly<Record<string, string>> = {
  ana: 'east',
  ben: 'north',
  kim: 'south',
  lou: 'west',
  mia: 'mid',
  noa: 'east',
}
export const PAIRS: readonly (readonly [string, string])[] = [
  ['ana', 'ben'],
  ['ben', 'kim'],
  ['kim', 'lou'],
  ['lou', 'mia'],
  ['mia', 'noa'],
  ['noa', 'ana'],
  ['ana', 'lou'],
  ['ben', 'mia'],
]

export type Stage = AsyncDisposable & {
  readonly dir: string
  readonly network: Testnet
  readonly cast: Cast
  readonly weather: Weather
  readonly actors: ReadonlyMap<string, Actor>
  readonly people: readonly PersonActor[]
  /** What a process said was wrong, or that it ended though nobody had asked it to. */
  readonly faults: readonly string[]
}

export const journalOf = (dir: string, name: string): string => join(dir, 'journals', `${name}.jsonl`)

const partnersOf = (name: string): string[] =>
  PAIRS.flatMap(([one, other]) => (one === name ? [other] : other === name ? [one] : []))

/** Loopback addresses by name, and names by address. */
function addressBook() {
  const addresses = new Map<string, string>()
  const names = new Map<string, string>()
  for (const [net, list] of [REGIONS, Object.keys(HOMES)].entries()) {
    for (const [i, name] of list.entries()) {
      const address = `127.0.${net + 1}.${i + 1}`
      addresses.set(name, address)
      names.set(address, name)
    }
  }
  return {
    of: (name: string): string => addresses.get(name) ?? '',
    /** Whoever sets things up, and looks from outside, is nobody. */
    whose: (address: string): string => names.get(address.replace('::ffff:', '')) ?? 'nobody',
  }
}

async function makePeople(dir: string, network: Testnet, preload: (name: string) => Preload): Promise<Person[]> {
  return await Promise.all(
    Object.entries(HOMES).map(async ([name, region]): Promise<Person> => {
      const { parley, profile, passphraseFile } = await launchAccount(network, name, region)
      const { userId } = parley
      await parley.close()
      const logFile = join(dir, `${name}.log`)
      return { name, region, userId, profile, passphraseFile, logFile, preload: preload(name) }
    }),
  )
}

/** On a machine with too much to do the directory may be too slow to be believed at first. */
async function find(actor: PersonActor, { userId, name }: Person): Promise<void> {
  for (let i = 1; ; i++) {
    try {
      await actor.client().ask({ do: 'find', user: userId, name })
      return
    } catch (error) {
      if (i === FIND_TRIES) throw error
      await pause(FIND_AGAIN_MS)
    }
  }
}

/** They find each other by bare id, before anything happens. */
async function introduce(people: readonly PersonActor[]): Promise<void> {
  const person = (name: string): Person => people.find((it) => it.name === name)!.person
  for (const actor of people) {
    await actor.client().ask({ do: 'connect' })
    for (const name of partnersOf(actor.name)) await find(actor, person(name))
  }
}

export type StageOptions = {
  readonly dir: string
  readonly random: Random
  readonly plant: Planted | undefined
}

/** A planted bug, and whose it is. */
export type Planted = { readonly in: 'relays' | 'clients'; readonly preload: Preload }

export async function openStage({ dir, random, plant }: StageOptions): Promise<Stage> {
  await using stack = new AsyncDisposableStack()
  const book = addressBook()
  const weather = createWeather()
  const faults: string[] = []
  const faultsFile = (name: string): string => join(dir, 'faults', `${name}.json`)
  await mkdir(join(dir, 'faults'), { recursive: true })
  await mkdir(join(dir, 'journals'), { recursive: true })
  for (const name of [...REGIONS, ...Object.keys(HOMES)]) writeFaults(faultsFile(name), NO_FAULTS)
  const preload = (name: string, kind: Planted['in']): Preload => {
    const { args, env } = plant?.in === kind ? plant.preload : NOTHING_PRELOADED
    return {
      args: [...args, '--import', HOOK],
      env: { ...env, [ADDRESS_VARIABLE]: book.of(name), [FAULTS_VARIABLE]: faultsFile(name) },
    }
  }
  const proxied = async (to: string, targetPort: number): Promise<number> =>
    stack.use(await faultProxy({ to, targetPort, weather, random, whose: book.whose })).port
  const network = stack.use(
    await launchTestnet({
      regions: REGIONS.map((name) => ({ name })),
      dir,
      inFront: async (name, port) => `http://127.0.0.1:${await proxied(name, port)}`,
      meshInFront: async (name, port) => `/ip4/127.0.0.1/tcp/${await proxied(name, port)}/ws`,
      preload: (name) => preload(name, 'relays'),
      onLost: ({ name }: ManagedProcess, { code, signal }: Exit) =>
        void faults.push(`${name} ended by itself (${signal ?? `code ${code}`})`),
    }),
  )
  const everybody = await makePeople(dir, network, (name) => preload(name, 'clients'))
  const idOf = (name: string): string => everybody.find((it) => it.name === name)!.userId
  const people = everybody.map((person) => {
    const { name } = person
    const to = partnersOf(name).map((other): Partner => ({ user: idOf(other), job: `${name}>${other}` }))
    const fault = (what: string): void => void faults.push(what)
    return personActor({ person, journal: journalOf(dir, name), to, faultsFile: faultsFile(name), fault })
  })
  for (const actor of people) {
    stack.defer(() => (actor.pid() === undefined ? undefined : actor.kill()))
    await actor.start()
  }
  await introduce(people)
  const relays = network.regions.map(({ name, dir: data, relay }) =>
    processActor(name, relay, faultsFile(name), join(data, 'store')),
  )
  const entry = processActor('entry', network.bootstrap, undefined, undefined)
  const actors = new Map([...relays, entry, ...people].map((it) => [it.name, it]))
  const cast: Cast = {
    regions: network.regions.map(({ name }) => [name]),
    people: everybody.map(({ name, region }) => ({ name, home: region })),
    entry: entry.name,
  }
  const owned = stack.move()
  return {
    dir,
    network,
    cast,
    weather,
    actors,
    people,
    faults,
    [Symbol.asyncDispose]: async () => {
      for (const it of actors.values()) it.signal('SIGCONT')
      await owned.disposeAsync()
    },
  }
}

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => void systemClock.after(Math.max(0, ms), resolve))
