// Taking over what former boots left: every record is folded into memory, where the next checkpoint finds it.
import { ParleyError } from '#protocol'
import type { HotLog } from './hot-log.ts'
import type { Memory } from './memory.ts'
import { CREATE, type Fold, readCheckpoints, readRecord } from './record.ts'
import type { Journal, Replayed } from './types.ts'

export type Found = {
  readonly low: number
  readonly next: number
  readonly finished: number
  readonly replayed: Replayed[]
}

/** Throws ParleyError `store_damaged`. */
export async function replay(journal: Journal, memory: Memory): Promise<Found> {
  let low = 0
  let next = 0
  let begun = 0
  let finished = 0
  const records: Uint8Array[] = []
  for await (const { number, record } of journal.replay(0)) {
    low ||= number
    if (next && number !== next) {
      const facts = { missing: String(next), found: String(number) }
      throw new ParleyError('store_damaged', 'the store is damaged: a journal record is missing', facts)
    }
    next = number + 1
    const header = readCheckpoints(record)
    if (header.begun) begun = number
    finished = Math.max(finished, header.finished)
    records.push(record)
  }
  const replayed: Replayed[] = []
  for (const [i, record] of records.entries()) {
    const number = low + i
    // What rows hold for sure is read for its annotations only.
    const { annotations } = readRecord(number, record, number > finished ? folding(memory, number, begun) : undefined)
    replayed.push({ commit: number, annotations })
  }
  return { low: low || 1, next: next || 1, finished, replayed }
}

function folding(memory: Memory, number: number, begun: number): Fold {
  // What may have been written to rows by a checkpoint is no longer known to be absent there.
  const isNew = number > begun
  const folded = (log: HotLog): void => {
    if (!isNew) log.mayBeInRows()
    log.takeChanges()
  }
  return {
    change(kind, partition, key, value) {
      const cell = memory.change(partition, key, value, number, kind === CREATE && isNew)
      cell.commit = number
      memory.settle(cell)
    },
    append: (log, before, at, entry) => folded(memory.logs.append(log, before, at, entry)),
    trim: (log, low, last) => folded(memory.logs.trim(log, low, last)),
    cut: (log, cut) => folded(memory.logs.cut(log, cut, 0)),
  }
}
