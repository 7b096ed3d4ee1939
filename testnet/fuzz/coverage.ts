// What V8 counted while one decoder ran: functions of this project that were called, and the blocks in them.
import { readFileSync } from 'node:fs'
import type { Profiler } from 'node:inspector'
import { Session } from 'node:inspector'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = join(import.meta.dirname, '..', '..')
/** Of the fuzzer, of tests, or generated: not what is asked about. */
const SUPPORT =
  /(^|\/)(node_modules|gen|testnet|testing)\/|\.test\.ts$|(^|\/)(decoders?[\w-]*|fixtures|vector[\w-]*|test-[\w-]+|simulated|sign-in-player|memory)\.ts$/

export type Covered = {
  /** That were called. */
  readonly functions: number
  /** Of their code, in characters. */
  readonly reachedPercent: number
  /** `file:line` of blocks in them that never ran. */
  readonly unreached: readonly string[]
}

/** Must be called before what is to be counted is loaded. */
export function startCoverage(): { take(): Covered } {
  const session = new Session()
  session.connect()
  session.post('Profiler.enable')
  session.post('Profiler.startPreciseCoverage', { callCount: false, detailed: true })
  return {
    take() {
      let result: Profiler.ScriptCoverage[] = []
      session.post('Profiler.takePreciseCoverage', (error, taken) => {
        if (!error) result = taken.result
      })
      session.post('Profiler.stopPreciseCoverage')
      session.disconnect()
      return summed(result)
    },
  }
}

function summed(scripts: readonly Profiler.ScriptCoverage[]): Covered {
  let [functions, length, missed] = [0, 0, 0]
  const unreached: string[] = []
  for (const { url, functions: found } of scripts) {
    if (!url.startsWith('file:')) continue
    const path = relative(ROOT, fileURLToPath(url))
    if (path.startsWith('..') || SUPPORT.test(path)) continue
    const source = readFileSync(fileURLToPath(url), 'utf8')
    for (const { ranges, functionName } of found) {
      const [whole, ...blocks] = ranges
      if (!whole || whole.count === 0 || functionName === '') continue
      functions++
      length += whole.endOffset - whole.startOffset
      for (const { count, startOffset, endOffset } of blocks) {
        if (count > 0) continue
        missed += endOffset - startOffset
        unreached.push(`${path}:${source.slice(0, startOffset).split('\n').length}`)
      }
    }
  }
  return { functions, reachedPercent: length === 0 ? 0 : (100 * (length - missed)) / length, unreached }
}
