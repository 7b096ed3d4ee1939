// npm run sim -- [--seeds N] [--first S] [--seed S]: runs the simulator and says what it found.
import { parseArgs } from 'node:util'
import { systemClock } from '#protocol'
import { runSeed } from './simulator/run.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    first: { type: 'string', default: '1' },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
  },
})

const first = Number(values.seed ?? values.first)
const count = values.seed ? 1 : Number(values.seeds)
const reach: Record<string, number> = {}
let bad = 0
const started = systemClock.monotonic()
for (let seed = first; seed < first + count; seed++) {
  const outcome = await runSeed(seed, values.trace ? { trace: (line) => console.log(line) } : {})
  for (const [what, n] of Object.entries(outcome.reach)) reach[what] = (reach[what] ?? 0) + n
  if (outcome.violations.length > 0) {
    bad++
    console.log(`seed ${seed}: ${outcome.violations.length} violations; replay: npm run sim -- --seed ${seed} --trace`)
    for (const what of outcome.violations.slice(0, 6)) console.log(`  ${what}`)
  }
  if (values.seed) console.log(`trace ${outcome.traceHash}`)
}
const seconds = (systemClock.monotonic() - started) / 1000
console.log(`${count} seeds in ${seconds.toFixed(1)} s (${(count / seconds).toFixed(1)}/s), ${bad} with violations`)
for (const [what, n] of Object.entries(reach).sort()) console.log(`  ${what.padEnd(32)} ${n}`)
process.exitCode = bad > 0 ? 1 : 0
