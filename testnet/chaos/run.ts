// One run: a network and people on it, half of what they can do as load, rounds of faults each of which heals and drains,
// and then the judgement over all that was written down.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { simulatedRandom, systemClock } from '#protocol'
import type { Dump } from '../clients/checker.ts'
import { readJournal } from '../clients/journal.ts'
import { sharedMs } from '../clients/orders.ts'
import { check, type Verdict, type Violation, type Written } from './checker.ts'
import { type Conducted, createConductor } from './conductor.ts'
import { untilDrained } from './drain.ts'
import { type Figures, figuresOf } from './figures.ts'
import {
  CAPACITY_MESSAGES,
  CAPACITY_MS,
  DRAIN_EVERY_MS,
  FAULTS_MS,
  HUNG_MS,
  LOAD_SHARE,
  PROGRESS_MS,
  WARM_UP_MS,
} from './limits.ts'
import { createSchedule } from './schedule.ts'
import { journalOf, openStage, PAIRS, type Planted, pause, type Stage } from './stage.ts'

export type RunOptions = {
  readonly seed: number
  readonly rounds: number
  readonly kills: number
  readonly dir: string
  readonly plant: Planted | undefined
  readonly say: (line: string) => void
  /** Called when nothing moves any more. */
  readonly hung: () => void
}

export type Run = {
  readonly seed: number
  /** Messages a second that arrived when everybody sent as fast as they could, and what was asked for under faults. */
  readonly capacity: number
  readonly load: number
  readonly conducted: Conducted
  readonly verdict: Verdict
  /** All of them, those of the checker included. */
  readonly violations: readonly Violation[]
  readonly figures: Figures
  readonly faultsMs: number
}

const received = ({ people }: Stage): number => people.reduce((sum, it) => sum + it.received(), 0)

async function pace({ people }: Stage, perSecond: number): Promise<void> {
  await Promise.all(people.map((it) => it.pace(perSecond)))
}

async function measureCapacity(stage: Stage): Promise<number> {
  await pace(stage, 1)
  await pause(WARM_UP_MS)
  await pace(stage, 0)
  await untilDrained(stage)
  const first = received(stage)
  await pace(stage, Number.MAX_SAFE_INTEGER)
  while (received(stage) === first) await pause(DRAIN_EVERY_MS)
  const [before, from] = [received(stage), sharedMs()]
  await pause(CAPACITY_MS)
  while (received(stage) - before < CAPACITY_MESSAGES) await pause(DRAIN_EVERY_MS)
  const perSecond = ((received(stage) - before) / (sharedMs() - from)) * 1000
  await pace(stage, 0)
  await untilDrained(stage)
  return perSecond
}

/** Tells how it goes, and whether it goes at all, until it is disposed of. */
function progress(stage: Stage, what: () => string, { say, hung }: RunOptions): Disposable {
  let over = false
  let last = ''
  let sinceMs = systemClock.monotonic()
  const again = (): void => {
    systemClock.after(PROGRESS_MS, () => {
      if (over) return
      const line = `${what()}, ${received(stage)} messages arrived`
      if (line !== last) sinceMs = systemClock.monotonic()
      else if (systemClock.monotonic() - sinceMs > HUNG_MS) hung()
      last = line
      say(`  ${line}`)
      again()
    })
  }
  again()
  return {
    [Symbol.dispose]: () => {
      over = true
    },
  }
}

async function dumpsOf(stage: Stage, pair: readonly [string, string]): Promise<readonly [Dump, Dump]> {
  const of = async (name: string, other: string): Promise<Dump> => {
    const file = join(stage.dir, 'journals', `${name}-${other}.json`)
    const actor = stage.people.find((it) => it.name === name)!
    const peer = stage.people.find((it) => it.name === other)!.person.userId
    await actor.client().ask({ do: 'dump', with: peer, entries: 0, after: 0, file })
    return JSON.parse(await readFile(file, 'utf8'))
  }
  return [await of(pair[0], pair[1]), await of(pair[1], pair[0])]
}

async function writtenBy(stage: Stage): Promise<Written[]> {
  return await Promise.all(
    stage.people.map(async ({ person: { name, userId } }) => {
      const lines = readJournal(await readFile(journalOf(stage.dir, name), 'utf8'))
      return { name, userId, lines }
    }),
  )
}

type Suffered = { readonly periods: readonly (readonly [number, number])[]; readonly drainedMs: readonly number[] }

export async function run(options: RunOptions): Promise<Run> {
  const { seed, rounds, kills, dir, plant, say } = options
  const random = simulatedRandom(seed)
  await using stage = await openStage({ dir, random: simulatedRandom(seed + 1), plant })
  const violations: Violation[] = []
  const capacity = await measureCapacity(stage)
  const load = capacity * LOAD_SHARE
  const threads = 2 * PAIRS.length
  say(`seed ${seed}: ${capacity.toFixed(0)} messages/s at most, so ${load.toFixed(0)}/s`)
  const conductor = createConductor(stage, random)
  const schedule = createSchedule(stage.cast, random)
  const periods: [number, number][] = []
  const drained: number[] = []
  for (let round = 1; round <= rounds; round++) {
    const share = (upTo: number): number => Math.floor((kills * upTo) / rounds)
    using _ = progress(stage, () => `round ${round}: ${conductor.conducted().kills.length} of ${kills} kills`, options)
    await pace(stage, load / threads)
    const from = sharedMs()
    await conductor.conduct(schedule.round(share(round) - share(round - 1)))
    periods.push([from, from + FAULTS_MS])
    // What nobody runs cannot drain.
    if (conductor.conducted().faults.length > 0) break
    await pace(stage, 0)
    const { ms, left } = await untilDrained(stage)
    drained.push(ms)
    for (const what of left) violations.push({ class: 'lost', what: `not drained: ${what}` })
    say(`round ${round} of ${rounds}: drained ${ms.toFixed(0)} ms after everything had healed`)
    if (left.length > 0) break
  }
  return await judged(stage, { periods, drainedMs: drained }, conductor.conducted(), violations, {
    seed,
    capacity,
    load,
  })
}

/** What holds however a run ends. */
const WITHOUT_END: ReadonlySet<Violation['class']> = new Set(['duplicate', 'gap', 'reordered', 'odd'])

async function judged(
  stage: Stage,
  { periods, drainedMs }: Suffered,
  conducted: Conducted,
  violations: Violation[],
  facts: Pick<Run, 'seed' | 'capacity' | 'load'>,
): Promise<Run> {
  for (const it of stage.people) if (it.pid() === undefined) await it.start()
  const pairs = []
  for (const people of PAIRS) pairs.push({ people, dumps: await dumpsOf(stage, people) })
  // At its end a client's process tells what else was wrong.
  for (const it of stage.people) await it.stop()
  const written = await writtenBy(stage)
  const all = check(written, pairs)
  // Where not everything could arrive, what is not there is not lost yet.
  const drained = periods.length === drainedMs.length
  const verdict = { ...all, violations: all.violations.filter(({ class: kind }) => drained || WITHOUT_END.has(kind)) }
  for (const what of [...conducted.faults, ...stage.faults]) violations.push({ class: 'odd', what })
  const figures = figuresOf(written, conducted.kills, periods, drainedMs)
  const faultsMs = periods.length * FAULTS_MS
  return { ...facts, conducted, verdict, violations: [...violations, ...verdict.violations], figures, faultsMs }
}
