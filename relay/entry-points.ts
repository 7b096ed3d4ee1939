// Where a node enters the mesh: multiaddrs as they are written, and entry services that are asked over HTTP. What a
// service said is kept, so that a node restarts while the service is away.
import { usableAddress } from '#node'
import { type Clock, decode, limits, openRegionRecord, ParleyError, type Region, SignedRecordSchema } from '#protocol'
import { ENTRY_PATIENCE_MS, ENTRY_POINTS_MAX, HTTP_BODY_MAX_BYTES } from './limits.ts'
import type { Store } from './store/types.ts'

const PARTITION = 'relay'
const KEY = 'entry-points'

export type EntryAnswer = {
  readonly multiaddrs: readonly string[]
  readonly regions: readonly Region[]
  readonly timeMs: number
}

const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === 'string').slice(0, ENTRY_POINTS_MAX) : []

/** What an address of a node looks like. A service passes on what strangers wrote into their records. */
const isNodeAddress = (text: string): boolean => /^\/\S+\/p2p\/[^/\s]+$/.test(text) && usableAddress(text)

function openAll(records: readonly string[], nowMs: number): Region[] {
  return records.flatMap((text) => {
    try {
      return [
        openRegionRecord(decode(SignedRecordSchema, Buffer.from(text, 'base64'), 2 * limits.RECORD_MAX_BYTES), nowMs),
      ]
    } catch {
      return []
    }
  })
}

/** GET as JSON, bounded in size and time. Throws `unreachable`. */
export async function getJson(url: string): Promise<Record<string, unknown>> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ENTRY_PATIENCE_MS), redirect: 'error' })
    if (!response.ok) throw new Error(`it answers ${response.status}`)
    const chunks: Uint8Array[] = []
    let size = 0
    for await (const chunk of response.body ?? []) {
      size += chunk.length
      if (size > 4 * HTTP_BODY_MAX_BYTES) throw new Error('the answer is too large')
      chunks.push(chunk)
    }
    const json: unknown = JSON.parse(Buffer.concat(chunks).toString())
    if (typeof json !== 'object' || json === null) throw new Error('it answers something else')
    return json as Record<string, unknown>
  } catch (error) {
    const cause = error instanceof Error ? (error.cause ?? error) : error
    const why = cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : String(cause)
    throw new ParleyError('unreachable', `${url} cannot be asked: ${why}`, {
      next: 'check the address and the network',
    })
  }
}

/** Asks an entry service. Throws `unreachable`. */
export async function askEntry(origin: string, nowMs: number): Promise<EntryAnswer> {
  const answer = await getJson(`${origin}/v1/regions`)
  return {
    multiaddrs: texts(answer.multiaddrs),
    regions: openAll(texts(answer.regions), nowMs),
    timeMs: Number(answer.timeMs),
  }
}

/**
 * Multiaddrs to begin with. Services that do not answer are passed over, with what they said last time instead; of
 * what they say only what can be dialled counts.
 */
export async function entryPoints(
  bootstrap: readonly string[],
  store: Store,
  clock: Clock,
  failed: (error: unknown) => void,
): Promise<string[]> {
  const given = bootstrap.filter((one) => one.startsWith('/'))
  const origins = bootstrap.filter((one) => !one.startsWith('/'))
  if (origins.length === 0) return given
  const answers = await Promise.allSettled(origins.map((origin) => askEntry(origin, clock.now())))
  const fresh = answers.flatMap((answer) => {
    if (answer.status === 'rejected') {
      failed(answer.reason)
      return []
    }
    const { multiaddrs, regions } = answer.value
    return [...multiaddrs, ...regions.flatMap((region) => region.nodes.flatMap((node) => node.multiaddrs))]
  })
  const usable = fresh.filter(isNodeAddress).slice(0, ENTRY_POINTS_MAX)
  if (usable.length > 0) store.put(PARTITION, KEY, Buffer.from(JSON.stringify(usable)))
  const kept = usable.length > 0 ? undefined : await store.get(PARTITION, KEY)
  const before = kept ? texts(JSON.parse(Buffer.from(kept).toString())).filter(isNodeAddress) : []
  return [...given, ...usable, ...before]
}
