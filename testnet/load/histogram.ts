// Latencies by the million in a few kilobytes: counts in buckets that grow with the value, so that every value is known to
// within 1/64 of itself. Histograms of several processes add up.
//
// What makes percentiles honest is not the histogram but what is put into it: a generator that waits for an answer before
// it sends the next message sends nothing while the other side stalls, and so leaves out the messages that would have
// suffered ("coordinated omission"). Whoever records with a schedule measures from when a message was due.

const SUB_BITS = 6
const SUB = 1 << SUB_BITS
const BUCKETS = (32 - SUB_BITS + 1) << SUB_BITS
const VALUE_MAX = 2 ** 32 - 1

export type Counts = readonly (readonly [bucket: number, count: number])[]

function bucketOf(value: number): number {
  if (value < SUB) return value
  const shift = 31 - Math.clz32(value) - SUB_BITS
  return ((shift + 1) << SUB_BITS) + ((value >>> shift) - SUB)
}

/** The middle of a bucket. */
function middleOf(bucket: number): number {
  if (bucket < SUB) return bucket
  const shift = (bucket >> SUB_BITS) - 1
  return ((bucket & (SUB - 1)) + SUB) * 2 ** shift + (2 ** shift - 1) / 2
}

export class Histogram {
  readonly #counts = new Float64Array(BUCKETS)
  #total = 0

  /** Whole microseconds; more than an hour counts as one. */
  record(us: number): void {
    const value = us < 0 ? 0 : us > VALUE_MAX ? VALUE_MAX : Math.floor(us)
    this.#counts[bucketOf(value >>> 0)]!++
    this.#total++
  }

  get total(): number {
    return this.#total
  }

  /** The value that a share of all values does not exceed, microseconds; NaN when there is none. */
  percentile(share: number): number {
    if (this.#total === 0) return Number.NaN
    const rank = Math.max(1, Math.ceil(share * this.#total))
    let seen = 0
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      seen += this.#counts[bucket]!
      if (seen >= rank) return middleOf(bucket)
    }
    return middleOf(BUCKETS - 1)
  }

  clear(): void {
    this.#counts.fill(0)
    this.#total = 0
  }

  counts(): Counts {
    return [...this.#counts.entries()].filter(([, count]) => count > 0)
  }

  add(counts: Counts): this {
    for (const [bucket, count] of counts) {
      this.#counts[bucket]! += count
      this.#total += count
    }
    return this
  }
}
