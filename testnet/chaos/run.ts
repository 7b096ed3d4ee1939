// One run: a network and people on it, half of what they can do as load, rounds of faults each of which heals and drains,
// and then the judgement over all that was written down.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { simulatedRandom, systemClock } from '#protocol'
import type { Dump } from '../clients/checker.ts'
import { readJournal } from '../clients/journal.ts'
import { sharedMs } from '../clients/orders.ts'
import { type Capacity, measureCapacity, pace, received } from './capacity.ts'
import { check, type Verdict, type Violation, type Written } from './checker.ts'
import { type Conducted, createConductor } from './conductor.ts'
import { untilDrained } from './drain.ts'
import { type Figures, figuresOf } from './figures.ts'
import { FAULTS_MS, HUNG_MS, LOAD_SHARE, PROGRESS_MS } from './limits.ts'
import { createSchedule } from './schedule.ts'
import { journalOf, openStage, PAIRS, type Planted, type Stage } from './stage.ts'

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

/** Rounds of faults, until one of them does not heal. */
async function torment(stage: Stage, load: number, violations: Violation[], options: RunOptions) {
  const { seed, rounds, kills, say } = options
  const random = simulatedRandom(seed)
  const threads = 2 * PAIRS.length
  const conductor = createConductor(stage, random)
  const schedule = createSchedule(stage.cast, random)
  const periods: [number, number][] = []
  const drainedMs: number[] = []
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
    drainedMs.push(ms)
    for (const what of left) violations.push({ class: 'lost', what: `not drained: ${what}` })
    say(`round ${round} of ${rounds}: drained ${ms.toFixed(0)} ms after everything had healed`)
    if (left.length > 0) break
  }
  return { suffered: { periods, drainedMs }, conducted: conductor.conducted() }
}

const UNHARMED = {
  suffered: { periods: [], drainedMs: [] },
  conducted: { kills: [], happened: [], faults: [] },
} as const

async function capacityOf(stage: Stage, options: RunOptions): Promise<Capacity> {
  using _ = progress(stage, () => 'before any fault', options)
  return await measureCapacity(stage)
}

export async function run(options: RunOptions): Promise<Run> {
  const { seed, dir, plant, say } = options
  await using stage = await openStage({ dir, random: simulatedRandom(seed + 1), plant })
  const { perSecond: capacity, left } = await capacityOf(stage, options)
  const load = capacity * LOAD_SHARE
  const violations = left.map((what): Violation => ({ class: 'lost', what: `before any fault: ${what}` }))
  if (left.length > 0) say(`seed ${seed}: messages do not arrive, so there is no need for faults`)
  else say(`seed ${seed}: ${capacity.toFixed(0)} messages/s at most, so ${load.toFixed(0)}/s`)
  const { suffered, conducted } = left.length > 0 ? UNHARMED : await torment(stage, load, violations, options)
  using _ = progress(stage, () => 'judging', options)
  return await judged(stage, suffered, conducted, violations, { seed, capacity, load })
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
