// What a region is owed, as a node knows it in memory: the window of commits behind its position, and what may return to it.
import type { RegionId } from '#protocol'
import type { Conversation, Gathered, WindowItem } from './conversation.ts'

export type Stream = { readonly conv: Conversation; readonly stream: string }

export type Destination = {
  readonly region: RegionId
  /** Oldest first; items that are done leave at the front. */
  readonly window: WindowItem[]
  readonly gathered: Gathered[]
  /** Streams with a lag row that may have caught up. */
  readonly promotable: Map<string, Stream>
  /** What lies at or before this commit is acknowledged or has lag rows; as it will be when all commits count. */
  position: number
  /** The same, of the commits that count. */
  settled: number
  /** A restart takes for owed what was noted beyond this. */
  writtenPosition: number
  /** The last commits in which something was noted for it, and in which something got a lag row. */
  notedAt: number
  demotedAt: number
  heardMs: number
}

export const newDestination = (region: RegionId, heardMs: number): Destination => ({
  ...{ region, window: [], gathered: [], promotable: new Map(), heardMs },
  ...{ position: 0, settled: 0, writtenPosition: 0, notedAt: 0, demotedAt: 0 },
})

/** Each stream once, the one that has waited longest first. */
export function waitingFor({ window }: Destination): Stream[] {
  const seen = new Map<Conversation, Set<string>>()
  const found: Stream[] = []
  for (const { conv, stream, done } of window) {
    const streams = seen.get(conv) ?? new Set()
    if (done || streams.has(stream)) continue
    seen.set(conv, streams.add(stream))
    found.push({ conv, stream })
  }
  return found
}
