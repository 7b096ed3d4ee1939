// What a commit notes for a restart: of which stream it owes a region something, and from where on.
import type { ConvId, RegionId } from '#protocol'
import type { Replayed } from '../store/types.ts'
import { ByteReader, ByteWriter } from './bytes.ts'
import { lagKey } from './conversation-rows.ts'

export type Owing = { readonly region: RegionId; readonly key: string; readonly from: number }

export function feedNote(region: RegionId, conv: ConvId, stream: string, from: number): Uint8Array {
  return new ByteWriter().text(region).text(conv).text(stream).u53(from).done()
}

function readFeedNote(bytes: Uint8Array): Owing {
  const from = new ByteReader(bytes)
  const region = from.text() as RegionId
  const key = lagKey(from.text() as ConvId, from.text())
  return { region, key, from: from.u53() }
}

/** What was noted beyond the positions of the regions, the first time of each stream, by a name of it. */
export function notedBeyond(
  replayed: readonly Replayed[],
  positions: ReadonlyMap<RegionId, number>,
): Map<string, Owing> {
  const owed = new Map<string, Owing>()
  for (const { commit, annotations } of replayed) {
    for (const bytes of annotations) {
      if (bytes.length === 0) continue
      const item = readFeedNote(bytes)
      const name = `${item.region} ${item.key}`
      if (commit > (positions.get(item.region) ?? 0) && !owed.has(name)) owed.set(name, item)
    }
  }
  return owed
}
