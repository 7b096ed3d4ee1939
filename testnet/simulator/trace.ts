// What happened, as numbers: every run folds them into one hash, the same on every machine. Words are made only for
// whoever reads them.
import type { Clock } from '#protocol'

const codes = new Map<string, number>()

/** FNV-1a, 32 bits. */
export function codeOf(text: string): number {
  let code = codes.get(text)
  if (code === undefined) {
    code = 0x811c9dc5
    for (let i = 0; i < text.length; i++) code = Math.imul(code ^ text.charCodeAt(i), 0x01000193)
    code >>>= 0
    codes.set(text, code)
  }
  return code
}

/** Seed of a random of its own for everything that draws: what one of them draws changes nothing for the others. */
export function seedOf(seed: number, name: string): number {
  let mixed = Math.imul(codeOf(name) ^ seed, 0x9e3779b1)
  mixed ^= mixed >>> 15
  return Math.imul(mixed, 0x85ebca77) ^ (mixed >>> 13)
}

const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, '0')

export class Trace {
  readonly #clock: Clock
  readonly #show: ((line: string) => void) | undefined
  #low = 0x811c9dc5
  #high = 0x2545f491

  constructor(clock: Clock, show: ((line: string) => void) | undefined) {
    this.#clock = clock
    this.#show = show
  }

  #mix(value: number): void {
    const low = value | 0
    const high = (value / 2 ** 32) | 0
    this.#low = Math.imul(this.#low ^ low, 0x01000193) ^ (this.#high >>> 7)
    this.#high = Math.imul(this.#high ^ low ^ Math.imul(high, 0x27d4eb2f), 0x85ebca6b) ^ (this.#low >>> 11)
  }

  /** `what` comes from a small set of texts; the numbers say the rest. */
  note(what: string, words?: () => string, a = 0, b = 0, c = 0): void {
    const now = this.#clock.monotonic()
    this.#mix(codeOf(what))
    this.#mix(Math.floor(now * 1_000))
    this.#mix(a)
    this.#mix(b)
    this.#mix(c)
    this.#show?.(`${now.toFixed(1).padStart(8)} ${words ? words() : `${what} ${a} ${b} ${c}`}`)
  }

  hash(): string {
    return `${hex(this.#low)}${hex(this.#high)}`
  }
}
