// The people of the main job, their clients, and one phase after the other between two of them, each judged at its end.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { compareIds, ensureUserId } from '#protocol'
import { type Dump, judge } from '../clients/checker.ts'
import { type Client, type Person, startClient } from '../clients/client.ts'
import type { Testnet, TestRegion } from '../launch.ts'
import { launchAccount } from '../people.ts'
import { NOTHING_PRELOADED } from '../process.ts'
import { type Measured, residentBytes } from './measure.ts'
import { textOf } from './text.ts'

export type Pair = {
  readonly people: readonly [Person, Person]
  /** userId -> every line so far. */
  readonly written: Map<string, string[]>
  /** The place of the newest entry. */
  last: number
  entries: number
}

export type Stage = {
  readonly network: Testnet
  readonly clients: Map<string, Client>
}

/** One direction of one phase. */
export type Way = {
  readonly stage: Stage
  readonly pair: Pair
  readonly from: Person
  readonly to: Person
  /** Where the conversation is put in order. */
  readonly host: TestRegion
  readonly name: string
  readonly lines: readonly string[]
  /** Holds the lines. */
  readonly file: string
}

export type Phase = {
  readonly id: string
  readonly title: string
  /** The other one sends as many lines at the same time; once is both ways then. */
  readonly both?: true
  readonly run: (way: Way, back: Way) => Promise<Measured>
}

export type Memory = { readonly name: string; readonly bytes: number }

export type Result = {
  readonly phase: Phase
  readonly from: Person
  readonly to: Person
  readonly host: string
  readonly lines: number
  readonly measured: Measured
  /** At the end of the phase, before anything is looked at. */
  readonly memory: readonly Memory[]
  readonly faults: readonly string[]
}

export async function makePerson(network: Testnet, name: string, region: string): Promise<Person> {
  const { parley, profile, passphraseFile } = await launchAccount(network, name, region)
  const { userId } = parley
  await parley.close()
  return {
    name,
    region,
    userId,
    profile,
    passphraseFile,
    logFile: join(network.dir, `${name}.log`),
    preload: NOTHING_PRELOADED,
  }
}

/** A connected client of this person: the one that runs, or a new one. */
export async function clientOf({ clients }: Stage, person: Person): Promise<Client> {
  const running = clients.get(person.name)
  if (running) return running
  const started = await startClient(person)
  clients.set(person.name, started)
  await started.ask({ do: 'connect' })
  return started
}

export async function stopClient({ clients }: Stage, person: Person): Promise<void> {
  const running = clients.get(person.name)
  clients.delete(person.name)
  await running?.stop()
}

/** They find each other by bare id. */
export async function makePair(stage: Stage, people: readonly [Person, Person]): Promise<Pair> {
  const [one, other] = people
  const clients = [await clientOf(stage, one), await clientOf(stage, other)] as const
  await clients[0].ask({ do: 'find', user: other.userId, name: other.name })
  await clients[1].ask({ do: 'find', user: one.userId, name: one.name })
  return { people, written: new Map(), last: 0, entries: 0 }
}

export function hostOf(network: Testnet, [one, other]: readonly [Person, Person]): TestRegion {
  const smaller = compareIds(ensureUserId(one.userId), ensureUserId(other.userId)) < 0 ? one : other
  return network.region(smaller.region)
}

async function dumpOf(way: Way, person: Person, after: number, entries: number): Promise<Dump> {
  const { stage, from, to, name } = way
  const file = join(stage.network.dir, 'dumps', `${name}.${person.name}.json`)
  const client = await clientOf(stage, person)
  await client.ask({ do: 'dump', with: (person === from ? to : from).userId, entries, after, file })
  return JSON.parse(await readFile(file, 'utf8'))
}

/** What both devices hold behind a place, against what was written since. */
async function check(way: Way, after: number, written: Readonly<Record<string, readonly string[]>>, entries: number) {
  const dumps = [await dumpOf(way, way.from, after, entries), await dumpOf(way, way.to, after, entries)] as const
  return judge(dumps, written)
}

async function memoryOf({ network, clients }: Stage): Promise<Memory[]> {
  const relays = [network.bootstrap, ...network.regions.map(({ relay }) => relay)]
  const processes = [
    ...relays.map(({ name, pid }) => ({ name, pid: pid ?? 0 })),
    ...[...clients.values()].map(({ person, pid }) => ({ name: `client of ${person.name}`, pid })),
  ]
  return await Promise.all(processes.map(async ({ name, pid }) => ({ name, bytes: await residentBytes(pid) })))
}

/** The lines of one direction, in a file of their own. */
async function prepare(stage: Stage, pair: Pair, turned: boolean, id: string, count: number): Promise<Way> {
  const [one, other] = pair.people
  const [from, to] = turned ? [other, one] : [one, other]
  const name = `${id}-${from.name}-${to.name}`
  const lines = textOf(name, count)
  const dir = join(stage.network.dir, 'dumps')
  await mkdir(dir, { recursive: true })
  const file = join(dir, `${name}.txt`)
  await writeFile(file, `${lines.join('\n')}\n`)
  return { stage, pair, from, to, host: hostOf(stage.network, pair.people), name, lines, file }
}

export async function runPhase(
  stage: Stage,
  pair: Pair,
  turned: boolean,
  phase: Phase,
  count: number,
): Promise<Result> {
  const way = await prepare(stage, pair, turned, phase.id, count)
  const back = await prepare(stage, pair, !turned, phase.id, phase.both ? count : 0)
  const { from, to } = way
  const measured = await phase.run(way, back)
  const memory = await memoryOf(stage)
  pair.entries += way.lines.length + back.lines.length
  const verdict = await check(way, pair.last, { [from.userId]: way.lines, [to.userId]: back.lines }, pair.entries)
  pair.last = verdict.last
  for (const { from: author, lines } of [way, back])
    pair.written.set(author.userId, [...(pair.written.get(author.userId) ?? []), ...lines])
  const told = [...stage.clients.values()].flatMap((it) => it.faults)
  const faults = [...verdict.faults, ...measured.faults, ...told]
  return { phase, from, to, host: way.host.name, lines: count, measured, memory, faults }
}

/** Everything that was ever sent between the two, from the first entry on. */
export async function checkAll(
  stage: Stage,
  pair: Pair,
): Promise<{ faults: readonly string[]; heads: readonly string[] }> {
  const [from, to] = pair.people
  const host = hostOf(stage.network, pair.people)
  const way: Way = { stage, pair, from, to, host, name: `all-${from.name}-${to.name}`, lines: [], file: '' }
  const { faults, heads } = await check(way, 0, Object.fromEntries(pair.written), pair.entries)
  return { faults, heads }
}
