// What a disk has ever kept for sure, seen from outside: every record whose append was acknowledged, and every record
// that a start found, is read here with a reader of its own; what was begun and not acknowledged does not count.
import type { Backend } from '#relay/rules'

const CHANGES_AT = 22
const DELETE = 2
/** Entries of a log; trims and cuts of logs have the two places only. */
const APPEND = 3
const PLACES_BYTES = 16
const SAME_PARTITION = 0x80

const OF_CONVERSATION = 'c'.charCodeAt(0)
const HELD = 'r'.charCodeAt(0)
const HANDED_OVER = 'b'.charCodeAt(0)
const ENTRY_EPOCH_AT = 2
const ENTRY_N_AT = 6
const ENTRY_MEMBER_AT = 10
const ENTRY_K_AT = 23

/** Hears of a key of the conversation: `e…` of an entry, `k<member> <k>` of its author's k, `r…` of a held submission. */
type Found = (conv: string, key: string) => void

function readKeys(record: Uint8Array, found: Found): void {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength)
  let at = CHANGES_AT
  let conv: string | undefined
  const number = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++]!
      value += (byte & 127) * 2 ** shift
      if (byte < 128) return value
    }
  }
  const entry = (): void => {
    const place = bytes.readUInt32BE(at + ENTRY_EPOCH_AT) * 2 ** 32 + bytes.readUInt32BE(at + ENTRY_N_AT)
    found(conv!, `e${place.toString(16).padStart(14, '0')}`)
    found(conv!, `k${bytes.readUInt32BE(at + ENTRY_MEMBER_AT)} ${bytes.readUInt32BE(at + ENTRY_K_AT)}`)
  }
  for (let notes = number(); notes > 0; notes--) {
    const length = number()
    at += length
  }
  while (at < bytes.length) {
    const first = bytes[at++]!
    const kind = first & 127
    if (!(first & SAME_PARTITION)) {
      const length = number()
      conv = bytes[at] === OF_CONVERSATION ? bytes.toString('latin1', at + 2, at + length) : undefined
      at += length
    }
    if (kind <= DELETE) {
      const length = number()
      const key = at
      at += length
      if (kind === DELETE) continue
      const size = number()
      if (conv !== undefined && bytes[key] === HELD) found(conv, bytes.toString('latin1', key, key + length))
      if (conv !== undefined && bytes[key] === HANDED_OVER) entry()
      at += size
      continue
    }
    at += PLACES_BYTES
    for (let entries = kind === APPEND ? number() : 0; entries > 0; entries--) {
      const length = number()
      if (conv !== undefined) entry()
      at += length
    }
  }
}

/** What one disk has ever kept for sure, and in which order. */
export class Kept {
  readonly #orders = new Map<string, Map<string, number>>()
  /** The highest place of each conversation. */
  readonly heads = new Map<string, number>()
  /** Grows with everything that is kept. */
  order = 0
  readonly #found: Found = (conv, key) => {
    let keys = this.#orders.get(conv)
    if (!keys) {
      keys = new Map()
      this.#orders.set(conv, keys)
    }
    if (keys.has(key)) return
    keys.set(key, ++this.order)
    if (key[0] === 'e') this.heads.set(conv, Math.max(this.heads.get(conv) ?? 0, Number.parseInt(key.slice(1), 16)))
  }

  add(record: Uint8Array): void {
    readKeys(record, this.#found)
  }

  /** `before`: among the first so many. */
  has(conv: string, key: string, before = Number.POSITIVE_INFINITY): boolean {
    const order = this.#orders.get(conv)?.get(key)
    return order !== undefined && order <= before
  }
}

export type Watcher = {
  readonly kept: Kept
  readonly isDeposed: () => boolean
  /** A write that a deposed owner began has counted. */
  readonly wroteDeposed: () => void
  /** A paused process hears of nothing until it goes on. */
  readonly awake: () => Promise<void> | undefined
}

/** Remembers what the backend has acknowledged. */
export function watched(backend: Backend, { kept, isDeposed, wroteDeposed, awake }: Watcher): Backend {
  const { journal, rows } = backend
  async function heard<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } finally {
      await awake()
    }
  }
  async function wrote(work: Promise<void>, counted: () => void): Promise<void> {
    const late = isDeposed()
    await heard(
      work.then(() => {
        if (late) wroteDeposed()
        counted()
      }),
    )
  }
  return {
    rows: {
      get: (partition, key) => heard(rows.get(partition, key)),
      range: (partition, options) => heard(rows.range(partition, options)),
      apply: (changes) => wrote(rows.apply(changes), () => {}),
    },
    freeBytes: () => backend.freeBytes(),
    [Symbol.asyncDispose]: () => backend[Symbol.asyncDispose](),
    journal: {
      append(number, record) {
        const copy = record.slice()
        return wrote(journal.append(number, record), () => kept.add(copy))
      },
      async *replay(from) {
        for await (const found of journal.replay(from)) {
          kept.add(found.record)
          yield found
        }
      },
      trim: (below) => wrote(journal.trim(below), () => {}),
    },
  }
}
