// What each folder says about the bytes from outside that it decodes, so that all of them can be fuzzed by one program.

/** One way in for bytes. Texts travel as their UTF-8. */
export type Decoder<T = unknown> = {
  /** `folder/what`; names the corpus too. */
  readonly name: string
  /** Exported functions that run with it: `file.ts function`. */
  readonly covers: readonly string[]
  /** What it takes at most; beyond this it refuses. */
  readonly maxBytes: number
  /** Memory that an input of that size may make, in sizes of it, where it is not the usual 4. */
  readonly memoryFactor?: number
  /** Valid inputs: what mutations begin with. */
  examples(): readonly Uint8Array[] | Promise<readonly Uint8Array[]>
  /** Throws ParleyErrors, and nothing else. */
  decode(bytes: Uint8Array): T | Promise<T>
  /** What decodes to an equal value. Undefined: the bytes cannot be had back (a hash, a signature, a sealed frame). */
  encode?(value: T): Uint8Array
  /** Inputs to begin with that are refused. */
  refusedExamples?(): readonly Uint8Array[]
  /** Changed bytes made consistent again (signed), so that what lies behind a signature is reached too. */
  mend?(bytes: Uint8Array): Uint8Array
  /** What is decoded of what was changed, when that is not the same: sealed, for instance. */
  wrap?(bytes: Uint8Array): Uint8Array
  /** Another implementation of the same, which must decode to an equal value or refuse with the same code. */
  twin?(bytes: Uint8Array): T
}

/** A large JSON text is there as chunks, joined, as text and as values at the same time. */
export const JSON_MEMORY_FACTOR = 8

/** Text <-> bytes of a decoder that reads text. */
export const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
export const bytesOfText = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
