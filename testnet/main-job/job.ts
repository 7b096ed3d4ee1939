// A whole run: one network, pairs of people, every phase in both directions, and a last look at everything.
import { launchTestnet } from '../launch.ts'
import { interrupted } from './interruptions.ts'
import { LONE_MESSAGES } from './limits.ts'
import { PHASES } from './phases.ts'
import { detailLines, memoryText, resultLine, table } from './report.ts'
import { checkAll, makePair, makePerson, type Pair, type Phase, type Result, runPhase, type Stage } from './stage.ts'

const { connected, atOnce, alone, away, receiverRelay, senderRelay, farSideDown } = PHASES

/** What the suite does: the everyday form. */
export const SHORT: readonly Phase[] = [connected, receiverRelay, senderRelay]
/** Between two regions, and between two people of one. */
export const LONG: readonly Phase[] = [
  connected,
  atOnce,
  alone,
  away,
  receiverRelay,
  senderRelay,
  farSideDown,
  interrupted,
]
export const LONG_ONE_REGION: readonly Phase[] = [connected, atOnce, alone, away, receiverRelay, interrupted]

type Say = (line: string) => void

export type Job = {
  /** Names of two people, each with the region of their home, and what they go through. */
  readonly pairs: readonly { readonly people: readonly [string, string][]; readonly phases: readonly Phase[] }[]
  readonly lines: number
  readonly dir: string
  readonly say: Say
}

export type Outcome = {
  readonly results: readonly Result[]
  readonly faults: readonly string[]
}

async function bothWays(stage: Stage, pair: Pair, phases: readonly Phase[], lines: number, say: Say) {
  const results: Result[] = []
  for (const phase of phases) {
    for (const turned of phase.both ? [false] : [false, true]) {
      const count = phase === alone ? Math.min(LONE_MESSAGES, lines) : lines
      const result = await runPhase(stage, pair, turned, phase, count)
      say(resultLine(result))
      for (const line of detailLines(result)) say(line)
      results.push(result)
      // What is wrong once stays wrong in every later phase.
      if (result.faults.length > 0) return results
    }
  }
  return results
}

/** With a short history, when nothing has looked at it yet. */
function tellMemory(results: readonly Result[], say: Say): void {
  for (const phase of [connected, away]) {
    const first = results.find((it) => it.phase === phase)
    if (first) say(`memory after (${phase.id}) ${phase.title}: ${memoryText(first.memory)}`)
  }
}

/** Throws only for what keeps it from going on; what is wrong with the messages is in `faults`. */
export async function runJob({ pairs, lines, dir, say }: Job): Promise<Outcome> {
  const regions = [...new Set(pairs.flatMap(({ people }) => people.map(([, region]) => region)))]
  const lost: string[] = []
  const onLost = (it: { name: string; logFile: string }) => void lost.push(`${it.name} ended: see ${it.logFile}`)
  await using network = await launchTestnet({ regions: regions.map((name) => ({ name })), dir, onLost })
  const stage: Stage = { network, clients: new Map() }
  const results: Result[] = []
  const faults: string[] = []
  try {
    for (const { people, phases } of pairs) {
      const [one, other] = people
      if (!one || !other) throw new Error('a pair is two people')
      const pair = await makePair(stage, [await makePerson(network, ...one), await makePerson(network, ...other)])
      results.push(...(await bothWays(stage, pair, phases, lines, say)))
      const all = await checkAll(stage, pair)
      say(
        `${one[0]} and ${other[0]}: ${pair.entries} entries, head ${all.heads.map((it) => it.slice(0, 16)).join(' and ')}`,
      )
      faults.push(...all.faults)
      for (const client of stage.clients.values()) await client.stop()
      stage.clients.clear()
    }
  } finally {
    for (const client of stage.clients.values()) await client.stop().catch(() => undefined)
  }
  say('')
  say(table(results))
  tellMemory(results, say)
  return { results, faults: [...results.flatMap((it) => it.faults), ...faults, ...lost] }
}
