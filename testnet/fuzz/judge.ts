// What is expected of one input: a value or a ParleyError, in time, without making much of little, and a value that
// survives being written and read again.

import { isDeepStrictEqual } from 'node:util'
import { getHeapStatistics } from 'node:v8'
import { ParleyError, systemClock } from '#protocol'
import type { Decoder } from '#protocol/decoders'
import { INPUT_MAX_MS, MEMORY_FACTOR, MEMORY_FLOOR_BYTES, OWN_SLACK_BYTES, STACK_FRAMES, TRIES } from './limits.ts'

export type Judged = {
  /** Equal for inputs that took the same way, as far as that can be seen from outside. */
  readonly outcome: string
  readonly accepted: boolean
  readonly tookMs: number
  /** Heap and buffers that came to be while it was decoded, garbage included; undefined when a collection came between. */
  readonly madeBytes: number | undefined
  readonly fault: string | undefined
}

type Run = {
  readonly value: unknown
  readonly error: unknown
  readonly tookMs: number
  readonly madeBytes: number | undefined
}

/** A view into something larger at an odd place; every other one a Buffer, as sockets bring them. */
export function placed(bytes: Uint8Array): Uint8Array {
  const room = bytes.length % 2 === 0 ? new Uint8Array(bytes.length + 5) : Buffer.alloc(bytes.length + 5)
  room.fill(0xee)
  room.set(bytes, 3)
  return room.subarray(3, 3 + bytes.length)
}

const memory = (): number => {
  const { used_heap_size, external_memory } = getHeapStatistics()
  return used_heap_size + external_memory
}

async function run(decoder: Decoder, bytes: Uint8Array): Promise<Run> {
  const before = memory()
  const started = systemClock.monotonic()
  let value: unknown
  let error: unknown
  try {
    value = decoder.decode(bytes)
    if (value instanceof Promise) value = await value
  } catch (thrown) {
    error = thrown ?? new Error('threw nothing')
  }
  const tookMs = systemClock.monotonic() - started
  const made = memory() - before
  return { value, error, tookMs, madeBytes: made < 0 ? undefined : made }
}

/** Strings and bytes that a value holds by itself, not as views of the input, and how many objects it is made of. */
export function heldBy(value: unknown, input: ArrayBufferLike): { ownBytes: number; objects: number } {
  const seen = new Set<object>()
  const buffers = new Set<ArrayBufferLike>([input])
  let ownBytes = 0
  const open: unknown[] = [value]
  while (open.length > 0) {
    const one = open.pop()
    if (typeof one === 'string') ownBytes += one.length
    if (typeof one !== 'object' || one === null || seen.has(one)) continue
    seen.add(one)
    if (one instanceof Uint8Array) {
      if (!buffers.has(one.buffer)) ownBytes += one.byteLength
      continue
    }
    for (const [key, inner] of Object.entries(one)) if (key !== '$typeName') open.push(inner)
  }
  return { ownBytes, objects: seen.size }
}

const wordsOf = (text: string): string =>
  text
    .replace(/[\d.]+/g, '#')
    .split(': ')[0]!
    .slice(0, 60)

function outcomeOf({ value, error }: Run, held: { ownBytes: number; objects: number }): string {
  if (error instanceof ParleyError) return `${error.code}: ${wordsOf(error.message)}`
  if (error !== undefined) return `fault: ${wordsOf(String(error))}`
  const size = Math.round(Math.log2(1 + held.ownBytes))
  if (value instanceof Uint8Array) return `taken: bytes, ${Math.round(Math.log2(1 + value.length))}`
  return `taken: ${typeof value === 'object' && value ? Object.keys(value).length : typeof value}, ${Math.round(2 * Math.log2(1 + held.objects))} ${size}`
}

/** What it throws, and where. */
async function thrownBy(again: () => unknown): Promise<string> {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = STACK_FRAMES
  try {
    await again()
    return 'something that it does not throw again'
  } catch (error) {
    return error instanceof Error ? `${error.stack}` : String(error)
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

async function againFault(decoder: Decoder, value: unknown, bytes: Uint8Array): Promise<string | undefined> {
  // Views of a Buffer are Buffers: equal bytes, and unequal all the same.
  if (!decoder.encode || Buffer.isBuffer(bytes)) return undefined
  const { encode } = decoder
  const writeAndRead = async (): Promise<unknown> => decoder.decode(encode(value))
  let second: unknown
  try {
    second = await writeAndRead()
  } catch {
    return `what was decoded does not survive being written: ${await thrownBy(writeAndRead)}`
  }
  return isDeepStrictEqual(value, second)
    ? undefined
    : 'what was decoded and what comes back after being written differ'
}

function twinFault(decoder: Decoder, bytes: Uint8Array, first: Run): string | undefined {
  if (!decoder.twin || Buffer.isBuffer(bytes)) return undefined
  let value: unknown
  let error: unknown
  try {
    value = decoder.twin(bytes)
  } catch (thrown) {
    error = thrown
  }
  const codeOf = (thrown: unknown): string | undefined =>
    thrown instanceof ParleyError ? thrown.code : thrown === undefined ? undefined : String(thrown)
  // Which of two reasons is met first may differ when there are too many of something that is broken further on.
  const eitherMany =
    error !== undefined && first.error !== undefined && [codeOf(error), codeOf(first.error)].includes('too_many')
  if (eitherMany) return undefined
  if (codeOf(error) !== codeOf(first.error))
    return `its twin differs: ${codeOf(first.error) ?? 'taken'} here, ${codeOf(error) ?? 'taken'} there`
  return isDeepStrictEqual(value, first.value) ? undefined : 'its twin decodes to another value'
}

/** Objects have a price of their own, so what counts is the largest input that is taken, not this one. */
const memoryMax = ({ maxBytes, memoryFactor = MEMORY_FACTOR }: Decoder): number =>
  memoryFactor * Math.max(maxBytes, MEMORY_FLOOR_BYTES)

function dearFault(decoder: Decoder, run: Run, bytes: Uint8Array): string | undefined {
  if (run.tookMs > INPUT_MAX_MS) return `takes ${run.tookMs.toFixed(0)} ms`
  const made = run.madeBytes ?? 0
  if (made > memoryMax(decoder))
    return `makes ${made} bytes in memory out of ${bytes.length}, at most ${memoryMax(decoder)} would do`
  return undefined
}

export const busyMs = (): number => {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1_000
}

/** The cheapest of several tries, by what this thread was busy: what the machine does meanwhile is not the input's fault. */
async function fairly(decoder: Decoder, bytes: Uint8Array): Promise<Run> {
  let best = await run(decoder, bytes)
  for (let i = 1; i < TRIES && dearFault(decoder, best, bytes); i++) {
    const before = busyMs()
    const again = await run(decoder, bytes)
    const next = { ...again, tookMs: Math.min(again.tookMs, busyMs() - before) }
    const madeBytes = Math.min(best.madeBytes ?? next.madeBytes ?? 0, next.madeBytes ?? best.madeBytes ?? 0)
    best = { ...next, tookMs: Math.min(best.tookMs, next.tookMs), madeBytes }
  }
  return best
}

export async function judge(decoder: Decoder, input: Uint8Array): Promise<Judged> {
  const bytes = placed(decoder.wrap ? decoder.wrap(input) : input)
  const first = await fairly(decoder, bytes)
  const accepted = first.error === undefined
  const held = accepted ? heldBy(first.value, bytes.buffer) : { ownBytes: 0, objects: 0 }
  let fault = dearFault(decoder, first, bytes)
  if (!accepted && !(first.error instanceof ParleyError))
    fault = `throws ${await thrownBy(() => decoder.decode(bytes))}`
  if (held.ownBytes > MEMORY_FACTOR * bytes.length + OWN_SLACK_BYTES)
    fault ??= `the value holds ${held.ownBytes} bytes of its own out of ${bytes.length}`
  if (accepted) fault ??= await againFault(decoder, first.value, bytes)
  fault ??= twinFault(decoder, bytes, first)
  const { tookMs, madeBytes } = first
  return { outcome: outcomeOf(first, held), accepted, tookMs, madeBytes, fault }
}
