// What a checkpoint writes of logs: rows of new entries, and the end of rows of which everything is gone or void.

import type { CheckpointPorts } from './checkpoint.ts'
import type { FrozenLog, HotLog } from './hot-log.ts'
import { logKey, logRowsOf, readLogRow, rowKeyAt, writeLogRow } from './log-rows.ts'
import { openRow, sealRow } from './record.ts'
import type { RowChange, Rows } from './types.ts'

const SCAN_ROWS = 32

type Found = { readonly key: string; readonly row: Uint8Array }

/** Rows of a log from the one in which `from` may stand to the one in which `to` may. */
async function* scan(rows: Rows, name: string, from: number, to: number): AsyncGenerator<Found> {
  let start = rowKeyAt(from)
  for (;;) {
    const options = { from: start, to: logKey(to + 1), limit: SCAN_ROWS, reverse: false }
    const page = await rows.range(name, options)
    for (const [key, sealed] of page) yield { key, row: openRow(name, key, sealed) }
    const last = page.at(-1)?.[0]
    if (last === undefined || page.length < SCAN_ROWS) return
    start = `${last}\0`
  }
}

/** What has to change of the rows that are there: key -> what it becomes. */
async function ended(rows: Rows, log: HotLog, { low, cuts }: FrozenLog): Promise<Map<string, Uint8Array | undefined>> {
  const changed = new Map<string, Uint8Array | undefined>()
  const deadFrom = log.deadFrom(low)
  if (deadFrom !== undefined) {
    for await (const { key, row } of scan(rows, log.name, deadFrom, low)) {
      if (readLogRow(key, row).at(-1)!.at <= low) changed.set(key, undefined)
    }
  }
  const isVoid = (at: number): boolean => cuts.some(({ after, last }) => at > after && at <= last)
  for (const { after, last } of cuts) {
    for await (const { key, row } of scan(rows, log.name, after + 1, last)) {
      const placed = readLogRow(key, row)
      const alive = placed.filter(({ at }) => !isVoid(at))
      if (alive.length === 0 || alive.at(-1)!.at <= low) changed.set(key, undefined)
      else if (alive.length < placed.length) changed.set(key, writeLogRow(alive.map(({ entry }) => entry)))
    }
  }
  return changed
}

function* changesOf(name: string, over: Map<string, Uint8Array | undefined>, frozen: FrozenLog): Generator<RowChange> {
  for (const [key, value] of logRowsOf(frozen.places, frozen.entries)) {
    over.delete(key)
    yield { partition: name, key, value: sealRow(name, key, value) }
  }
  for (const [key, value] of over) yield { partition: name, key, value: value && sealRow(name, key, value) }
}

/** In batches of bounded size; each log counts as written when all of it is. */
export async function writeLogs(
  ports: CheckpointPorts,
  logs: readonly HotLog[],
  apply: (changes: readonly RowChange[]) => Promise<void>,
): Promise<void> {
  const { backend, limits, memory, isStopped } = ports
  let batch: RowChange[] = []
  let whole: HotLog[] = []
  let bytes = 0
  const applyBatch = async (): Promise<void> => {
    if (isStopped()) return
    const changes = batch
    const finished = whole
    batch = []
    whole = []
    bytes = 0
    if (changes.length > 0) await apply(changes)
    if (isStopped()) return
    for (const log of finished) memory.logs.wrote(log)
  }
  for (const log of logs) {
    const frozen = log.frozen()
    const over = await ended(backend.rows, log, frozen)
    if (isStopped()) return
    for (const change of changesOf(log.name, over, frozen)) {
      batch.push(change)
      bytes += change.key.length + (change.value ? change.value.length : 0)
      if (batch.length < limits.sliceChanges && bytes < limits.sliceBytes) continue
      await applyBatch()
      if (isStopped()) return
    }
    whole.push(log)
  }
  await applyBatch()
}
