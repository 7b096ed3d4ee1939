// What honest people waited before, during and after an attack, and what may be said of it.
import { median } from '../bench/measure.ts'
import { LATENCY_FLOOR_MS, SLICE_MS } from './limits.ts'

/** Honest p99 of each slice of three times, ms; endless where nothing arrived. */
export type Heard = {
  readonly before: readonly number[]
  readonly during: readonly number[]
  readonly after: readonly number[]
}

export type Verdict = {
  /**
   * Medians over slices, so that the same is compared with the same and one bad second of the machine, of which there are
   * many, decides nothing: the 99th percentile of a whole side is what its worst second makes of it.
   */
  readonly beforeMs: number
  readonly duringMs: number
  readonly afterMs: number
  /** What an attack is measured against: the slower of the two quiet sides, and not below LATENCY_FLOOR_MS. */
  readonly quietMs: number
  /** Honest people noticed more than they may: what a machine that does other things can cause as well. */
  readonly slow: string | undefined
  /** The two quiet sides are so unlike that nothing can be said about slowness. */
  readonly noisy: string | undefined
  /** Times in which nothing arrived at all. */
  readonly faults: readonly string[]
}

export type Allowed = {
  /** What p99 may become, of what it is in quiet. */
  readonly p99Factor: number
  /** Before it there was a load that is not there afterwards: that it was slower before is no noise. */
  readonly loaded: boolean
}

export function judge(heard: Heard, { p99Factor, loaded }: Allowed): Verdict {
  const [beforeMs, duringMs, afterMs] = [median(heard.before), median(heard.during), median(heard.after)]
  const before = Math.max(beforeMs, LATENCY_FLOOR_MS)
  const quietMs = Math.max(before, afterMs)
  // No attack makes anybody faster: with a load that is not there afterwards, that is how a slow time before it is known.
  const calmerMs = Math.min(before, Math.max(loaded ? duringMs : afterMs, LATENCY_FLOOR_MS))
  const isNoisy = quietMs > p99Factor * calmerMs
  const lower = loaded ? `, ${duringMs.toFixed(1)} ms during` : ''
  const sides = `${beforeMs.toFixed(1)} ms before${lower} and ${afterMs.toFixed(1)} ms after`
  const noisy = isNoisy ? `honest p99 is ${sides}, more than ${p99Factor} times apart: not judged` : undefined
  const ratio = duringMs / quietMs
  const isSlow = !isNoisy && ratio > p99Factor
  const slow = isSlow ? `honest p99 is ${ratio.toFixed(1)} times what it is in quiet, at most ${p99Factor}` : undefined
  const faults = Object.entries(heard).flatMap(([when, slices]) => {
    const silent = slices.filter((ms) => ms === Number.POSITIVE_INFINITY).length
    const of = `${(silent * SLICE_MS) / 1_000} of ${(slices.length * SLICE_MS) / 1_000} s`
    return silent > 0 ? [`honest people heard nothing for ${of} ${when} it`] : []
  })
  return { beforeMs, duringMs, afterMs, quietMs, slow, noisy, faults }
}
