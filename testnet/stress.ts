// npm run stress: a real relay under pressure, and what it does to memory, to honest people, and to the health page.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock } from '#protocol'
import { aheadOfAll } from './bench/cpu.ts'
import { openStage, type RelayHow, type RelayServer, type Stage } from './bench/stage.ts'
import { TEXT_BYTES } from './load/limits.ts'
import { NOTHING_PRELOADED } from './process.ts'
import type { Attack } from './stress/attack.ts'
import { ATTACKS } from './stress/attacks.ts'
import { fullable, fullStore } from './stress/full-store.ts'
import { ATTACK_MS, HONEST_PAIRS, LATENCY_FLOOR_MS, SLICE_MS } from './stress/limits.ts'
import type { Place } from './stress/orders.ts'
import { attackBy, type Honest, type Pressure, type RowResult, runRow } from './stress/row.ts'
import { stalledRegion } from './stress/stalled-region.ts'
import type { Where } from './stress/where.ts'

const STALLED_REGION = {
  id: 'stalled-region',
  title: 'a region that stands still while people write to it',
  p99Factor: 1.5,
  honest: 'within',
  loaded: true,
} as const
const FULL_STORE = {
  id: 'full-store',
  title: 'another region whose disk is full',
  p99Factor: 1.5,
  honest: 'within',
  loaded: true,
} as const
type RowKind = Pick<Attack, 'id' | 'title' | 'p99Factor' | 'honest' | 'leastMs' | 'loaded'>
const ROWS: readonly RowKind[] = [...ATTACKS, STALLED_REGION, FULL_STORE]

const HELP = `npm run stress -- [--only ID]... [--seconds N] [--full] [--json FILE] [--list]

  --only ID    this row only (--list shows all)
  --seconds N  how long each attack lasts (default ${ATTACK_MS / 1_000})
  --full       as many people, sockets and records as the rows are named for
  --strict     a row that is slow has failed; otherwise only one that lost, grew, fell silent, or did nothing has
  --json FILE  the table for programs
  --profiles DIR  CPU profiles of the relay, one for each attack

Each row says what honest people waited before, during and after the attack (99th percentile, the median of its seconds),
and how many times as long as in the slower of the two quiet times, which counts as ${LATENCY_FLOOR_MS} ms at least; what the
attack reached a second; and, for each of the three times, how much of a core each process ran, how long it stood in line for
one, and how long the passes of the relay's loop were. When relay or load stood in line much, what honest people noticed is the
machine's doing too. Attackers run when nobody else wants their core.

  held    all is well
  SLOW    honest people waited longer than the row allows
  NOISY   the quiet before and the quiet after are further apart than that: slowness is not judged, the row has not failed
          for it (not with --strict either), and the last line names it
  FAILED  something was lost, grew, fell silent, or the attack did nothing`

const OPTIONS = {
  only: { type: 'string', multiple: true },
  seconds: { type: 'string', default: `${ATTACK_MS / 1_000}` },
  full: { type: 'boolean', default: false },
  strict: { type: 'boolean', default: false },
  json: { type: 'string' },
  profiles: { type: 'string' },
  list: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

const say = (text: string): void => void process.stderr.write(`${text}\n`)

function misused(why: string): never {
  say(`stress: ${why}\nNext: npm run stress -- --help`)
  process.exit(2)
}

const { values, attackMs, chosen } = optionsOf()

function optionsOf() {
  try {
    const { values } = parseArgs({ options: OPTIONS })
    const unknown = values.only?.find((id) => !ROWS.some((row) => row.id === id))
    if (unknown !== undefined) throw new Error(`no row ${unknown}; there are ${ROWS.map(({ id }) => id).join(', ')}`)
    const attackMs = Number(values.seconds) * 1_000
    if (!(attackMs >= SLICE_MS))
      throw new Error(`--seconds is a number from ${SLICE_MS / 1_000} on, not ${values.seconds}`)
    return { values, attackMs, chosen: values.only ? ROWS.filter(({ id }) => values.only!.includes(id)) : ROWS }
  } catch (error) {
    return misused(error instanceof Error ? error.message : String(error))
  }
}

type Field = {
  readonly stage: Stage
  readonly north: RelayServer
  readonly south: RelayServer
  readonly honest: { readonly within: Honest; readonly between: Honest }
}

function placeOf({ origin, meshPort, process }: RelayServer): Place {
  const [multiaddr = ''] = Array.isArray(process.ready.multiaddrs) ? process.ready.multiaddrs.map(String) : []
  const { hostname, port } = new URL(origin)
  return { origin, host: hostname, clientPort: Number(port), meshPort, multiaddr, peerId: String(process.ready.peerId) }
}

type Opening = { readonly names: readonly [string, string]; readonly preload: RelayHow['preload'] }

async function openField(
  stage: Stage,
  stack: AsyncDisposableStack,
  { names, preload }: Opening = { names: ['north', 'south'], preload: undefined },
): Promise<Field> {
  const { relays } = stack.use(await stage.regions(names, { inspected: true, ...(preload && { preload }) }))
  const [north, south] = relays as [RelayServer, RelayServer]
  const loader = stack.use(await stage.loader())
  await aheadOfAll(loader.pid)
  const talk = async (group: string, readers: string): Promise<Honest> => {
    await loader.ask({
      do: 'pairs',
      group,
      authors: north.origin,
      readers,
      pairs: HONEST_PAIRS,
      bytes: TEXT_BYTES,
      doneWhen: ['sequenced', 'received'],
      host: 'author',
      readersOn: true,
    })
    return { loader, group }
  }
  const within = await talk('within', north.origin)
  const between = await talk('between', south.origin)
  return { stage, north, south, honest: { within, between } }
}

/** In a field of its own: a disk that can be full is one that is slower too. */
async function fullStoreRow({ dir, say }: Stage, attackMs: number): Promise<RowResult> {
  await using stack = new AsyncDisposableStack()
  const stage = await openStage({ dir: join(dir, FULL_STORE.id), profiles: undefined, relay: undefined, say })
  const { file, ...preload } = await fullable(stage.dir)
  const field = await openField(stage, stack, {
    names: ['roomy', 'full-up'],
    preload: (name) => (name === 'full-up' ? preload : NOTHING_PRELOADED),
  })
  const { origin, process } = field.south
  const { loader } = field.honest.within
  return await oneRow(field, FULL_STORE, attackMs, () => fullStore({ process, origin, file, loader }))
}

function pressureOf(id: string, { stage, north, south, honest }: Field): Promise<Pressure> {
  if (id === STALLED_REGION.id) return stalledRegion(south.process, honest.between)
  return attackBy({ id, north: placeOf(north), south: placeOf(south), full: values.full }, stage)
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`
const WIDTHS = [16, 30, 9, 7, 9]
const line = (cells: readonly string[]): string =>
  cells.map((cell, i) => (i === 0 ? cell.padEnd(WIDTHS[i]!) : cell.padStart(WIDTHS[i] ?? 0))).join(' ')

const percent = (share: number): string => `${(100 * share).toFixed(0)} %`

function inWords({ busy, passes }: Where): string {
  const each = busy.map(({ name, ran, inLine }) => `${name} ran ${percent(ran)}, in line ${percent(inLine)}`)
  const [wall, cpu] = [passes.wallMs, passes.cpuMs].map((all) => all.map((it) => it.toFixed(1)).join(' / '))
  return `${each.join('; ')}; passes of its loop ${wall} ms, of its own work ${cpu} ms (p50 / p99 / longest)`
}

const wordFor = ({ faults, slow, noisy }: RowResult): string =>
  faults.length > 0 ? 'FAILED' : slow ? 'SLOW' : noisy ? 'NOISY' : 'held'

function show(row: RowResult): void {
  const ratio = (row.duringMs / row.quietMs).toFixed(2)
  const times = [row.beforeMs, row.duringMs, row.afterMs].map((ms) => ms.toFixed(1)).join(' → ')
  const latency = `${times} (×${ratio})`
  const back = `${(100 * row.back).toFixed(0)} %`
  console.log(
    line([row.id, latency, mib(row.grownBytes), back, `${row.worstHealthMs.toFixed(0)} ms`, `  ${wordFor(row)}`]),
  )
  console.log(`  ${row.did}`)
  if (row.where) for (const [when, where] of Object.entries(row.where)) console.log(`  ${when}: ${inWords(where)}`)
  if (row.slow) console.log(`  SLOW: ${row.slow}`)
  if (row.noisy) console.log(`  NOISY: ${row.noisy}`)
  for (const fault of row.faults) console.log(`  FAILED: ${fault}`)
}

/** A row that could not be run has failed; the others go on. */
function notRun(id: string, error: unknown): RowResult {
  const why = error instanceof Error ? error.message : String(error)
  const nothing = {
    beforeMs: Number.NaN,
    duringMs: Number.NaN,
    afterMs: Number.NaN,
    quietMs: Number.NaN,
    grownBytes: 0,
    back: Number.NaN,
    worstHealthMs: Number.NaN,
    where: undefined,
  }
  return { id, did: 'was not run to its end', ...nothing, slow: undefined, noisy: undefined, faults: [why] }
}

async function oneRow(
  field: Field,
  { id, p99Factor, honest, loaded }: RowKind,
  attackMs: number,
  prepare: () => Promise<Pressure> = () => pressureOf(id, field),
): Promise<RowResult> {
  await using pressure = await prepare()
  const talking = field.honest[honest]
  return await runRow(field.stage, {
    id,
    relays: [field.north, field.south],
    profile: values.profiles && join(values.profiles, `${id}.cpuprofile`),
    honest: talking,
    p99Factor,
    loaded: loaded === true,
    attackMs,
    pressure,
  })
}

async function main(): Promise<boolean> {
  if (values.list) for (const { id, title } of ROWS) console.log(`${id.padEnd(18)}${title}`)
  if (values.list) return true
  if (values.profiles) await mkdir(values.profiles, { recursive: true })
  const dir = await mkdtemp(join(tmpdir(), 'parley-stress-'))
  const started = systemClock.monotonic()
  const results: RowResult[] = []
  await using stack = new AsyncDisposableStack()
  stack.defer(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }))
  const stage = await openStage({ dir, profiles: undefined, relay: undefined, say })
  const field = await openField(stage, stack)
  console.log(`${stage.placed.says}\n`)
  console.log(line(['row', 'honest p99, ms (× quiet)', 'memory', 'back', 'health', '  verdict']))
  for (const one of chosen) {
    say(`${one.id}: ${one.title}`)
    const ms = Math.max(attackMs, one.leastMs ?? 0)
    const run = one.id === FULL_STORE.id ? fullStoreRow(stage, ms) : oneRow(field, one, ms)
    const row = await run.catch((error: unknown) => notRun(one.id, error))
    results.push(row)
    show(row)
  }
  const held = results.filter((row) => wordFor(row) === 'held').length
  const noisy = results.filter((row) => wordFor(row) === 'NOISY').map(({ id }) => id)
  const failed = results.filter(({ faults, slow }) => faults.length > 0 || (slow && values.strict)).length
  const seconds = ((systemClock.monotonic() - started) / 1_000).toFixed(0)
  const unjudged = noisy.length > 0 ? `, ${noisy.length} too noisy to judge (${noisy.join(', ')})` : ''
  console.log(`\n${held} of ${results.length} rows held, ${failed} failed${unjudged}, ${seconds} s`)
  if (values.json) await writeFile(values.json, `${JSON.stringify(results, undefined, 1)}\n`)
  return failed === 0
}

if (values.help) console.log(HELP)
else if (!(await main())) process.exitCode = 1
