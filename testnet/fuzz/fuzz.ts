// One decoder: what failed before, then changed inputs from a seed. Inputs with an outcome that was not seen yet are kept
// and changed further, so that the search goes where the decoder tells things apart.
import { systemClock } from '#protocol'
import type { Decoder } from '#protocol/decoders'
import { chanceOf, seedOf } from './chance.ts'
import { keptInputs } from './corpus.ts'
import { busyMs, type Judged, judge } from './judge.ts'
import { FAULTS_MAX, OUTCOMES_PER_CODE_MAX, POOL_INPUT_MAX_BYTES, POOL_MAX, SHRINK_MS } from './limits.ts'
import { nextInput } from './mutate.ts'

export type Fault = { readonly what: string; readonly bytes: Uint8Array; readonly kept: string | undefined }

export type Findings = {
  readonly name: string
  readonly executions: number
  readonly accepted: number
  readonly outcomes: number
  readonly slowestMs: number
  /** Memory made by the most expensive input, garbage included, and that input's size. */
  readonly most: { readonly madeBytes: number; readonly bytes: number }
  readonly tookMs: number
  /** Of the thread: what it would take on a machine of its own. */
  readonly busyMs: number
  readonly faults: readonly Fault[]
}

export type FuzzOptions = {
  readonly seed: number
  readonly executions: number
  /** Before each input; `done` of those that count were before it: kept ones and examples do not. */
  readonly about?: (bytes: Uint8Array, done: number) => void
}

const kindOf = (fault: string | undefined): string | undefined => fault?.slice(0, 24)

/** Smaller and failing in the same way, as far as a short time allows. */
async function shrink(decoder: Decoder, bytes: Uint8Array, fault: string): Promise<Uint8Array> {
  const until = systemClock.monotonic() + SHRINK_MS
  let best = bytes
  for (let piece = best.length >> 1; piece > 0; piece >>= 1) {
    for (let at = 0; at + piece <= best.length; ) {
      if (systemClock.monotonic() > until) return best
      const shorter = new Uint8Array(Buffer.concat([best.subarray(0, at), best.subarray(at + piece)]))
      if (kindOf((await judge(decoder, shorter)).fault) === kindOf(fault)) best = shorter
      else at += piece
    }
  }
  return best
}

class Search {
  readonly #decoder: Decoder
  readonly #outcomes = new Set<string>()
  readonly #perCode = new Map<string, number>()
  readonly #faultKinds = new Set<string>()
  readonly faults: Fault[] = []
  readonly pool: Uint8Array[]
  accepted = 0
  slowestMs = 0
  most = { madeBytes: 0, bytes: 0 }

  constructor(decoder: Decoder, examples: readonly Uint8Array[]) {
    this.#decoder = decoder
    this.pool = [...examples]
  }

  get outcomes(): number {
    return this.#outcomes.size
  }

  async take(bytes: Uint8Array, kept: string | undefined): Promise<Judged> {
    const judged = await judge(this.#decoder, bytes)
    if (judged.accepted) this.accepted++
    if (judged.tookMs > this.slowestMs) this.slowestMs = judged.tookMs
    const { madeBytes = 0 } = judged
    if (madeBytes > this.most.madeBytes) this.most = { madeBytes, bytes: bytes.length }
    this.#keep(judged.outcome, bytes)
    if (judged.fault !== undefined) await this.#failed(judged.fault, bytes, kept)
    return judged
  }

  /** A refusal that repeats the peer's own words would otherwise be new each time. */
  #keep(outcome: string, bytes: Uint8Array): void {
    const code = outcome.split(':')[0]!
    const ofCode = this.#perCode.get(code) ?? 0
    if (this.#outcomes.has(outcome) || ofCode >= OUTCOMES_PER_CODE_MAX) return
    this.#outcomes.add(outcome)
    this.#perCode.set(code, ofCode + 1)
    if (this.pool.length < POOL_MAX && bytes.length <= POOL_INPUT_MAX_BYTES) this.pool.push(bytes)
  }

  async #failed(what: string, bytes: Uint8Array, kept: string | undefined): Promise<void> {
    const kind = kindOf(what)!
    if (kept === undefined && (this.#faultKinds.has(kind) || this.faults.length >= FAULTS_MAX)) return
    this.#faultKinds.add(kind)
    this.faults.push({ what, bytes: kept ? bytes : await shrink(this.#decoder, bytes, what), kept })
  }
}

export async function fuzz(decoder: Decoder, { seed, executions, about }: FuzzOptions): Promise<Findings> {
  const started = systemClock.monotonic()
  const busyBefore = busyMs()
  const examples = await decoder.examples()
  const search = new Search(decoder, examples)
  const take = (bytes: Uint8Array, kept: string | undefined, done = 0): Promise<Judged> => {
    about?.(bytes, done)
    return search.take(bytes, kept)
  }
  for (const { file, bytes } of keptInputs(decoder)) await take(bytes, file)
  for (const [i, example] of examples.entries()) {
    const { accepted, outcome } = await take(example, undefined)
    if (!accepted)
      search.faults.push({ what: `example ${i + 1} is refused: ${outcome}`, bytes: example, kept: undefined })
  }
  for (const bytes of decoder.refusedExamples?.() ?? []) await take(bytes, undefined)
  const chance = chanceOf(seedOf(seed, decoder.name))
  for (let done = 0; done < executions; done++) {
    const bytes = nextInput(decoder, chance, search.pool)
    await take(bytes, undefined, done)
  }
  const { accepted, outcomes, slowestMs, most, faults } = search
  return {
    name: decoder.name,
    executions,
    accepted,
    outcomes,
    slowestMs,
    most,
    faults,
    tookMs: systemClock.monotonic() - started,
    busyMs: busyMs() - busyBefore,
  }
}
