// `npm run main-job`: ten thousand lines, both ways, between two regions and within one, while relays and clients are
// killed. Ends with 0 if every line arrived once, in order, unchanged, and both devices hold the same log.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '#protocol'
import { LONG, LONG_ONE_REGION, runJob } from './main-job/job.ts'
import { JOB_MAX_MS, LINES_LONG, LINES_MIN } from './main-job/limits.ts'

const USAGE = `npm run main-job -- [LINES]: lines of each phase and direction, a whole number from ${LINES_MIN} on, ${LINES_LONG} unless given`

const say = (line: string): void => console.log(line)

/** Undefined: not to be understood, or too few for what is done to them. */
function linesOf([text, ...more]: readonly string[]): number | undefined {
  const lines = Number(text ?? LINES_LONG)
  return more.length === 0 && Number.isSafeInteger(lines) && lines >= LINES_MIN ? lines : undefined
}

async function main(lines: number): Promise<boolean> {
  const began = systemClock.monotonic()
  const dir = await mkdtemp(join(tmpdir(), 'parley-main-job-'))
  let faults: readonly string[]
  systemClock.after(JOB_MAX_MS, () => {
    say(`\nFAILED: not done after ${JOB_MAX_MS / 60_000} minutes. Data and logs are in ${dir}`)
    process.exit(1)
  })
  try {
    const outcome = await runJob({
      pairs: [
        {
          people: [
            ['ana', 'north'],
            ['ben', 'south'],
          ],
          phases: LONG,
        },
        {
          people: [
            ['kim', 'north'],
            ['lou', 'north'],
          ],
          phases: LONG_ONE_REGION,
        },
      ],
      lines,
      dir,
      say,
    })
    faults = outcome.faults
  } catch (error) {
    faults = [error instanceof Error ? (error.stack ?? error.message) : String(error)]
  }
  const seconds = ((systemClock.monotonic() - began) / 1000).toFixed(0)
  if (faults.length === 0) {
    await rm(dir, { recursive: true, force: true, maxRetries: 5 })
    say(`\nNothing lost, nothing twice, everything in order, the same on both sides. ${seconds} s.`)
    return true
  }
  say(`\nFAILED after ${seconds} s:`)
  for (const fault of faults) say(`  ${fault}`)
  say(`Data and logs are in ${dir}`)
  return false
}

const lines = linesOf(process.argv.slice(2))
if (process.argv[2] === '--help') say(USAGE)
else if (lines === undefined) {
  console.error(USAGE)
  process.exitCode = 2
} else process.exitCode = (await main(lines)) ? 0 : 1
