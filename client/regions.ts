// Regions as a client knows them: signed records, from a bootstrap list or from the region itself. A record counts when
// it chains to the region's id and is not older than the one that is kept.
import { toBinary } from '@bufbuild/protobuf'
import {
  audienceOf,
  type Clock,
  compareVersions,
  decode,
  limits,
  openRegionRecord,
  ParleyError,
  type Region,
  SignedRecordSchema,
} from '#protocol'
import { ask, fromBase64 } from './http.ts'
import { ENTRIES_TIMED_MAX, ENTRY_TIMING_MS } from './limits.ts'

export type Entry = { readonly region: Region; readonly origin: string; readonly latencyMs: number }

const RECORD_WHOLE_MAX_BYTES = 2 * limits.RECORD_MAX_BYTES

export function readRegion(bytes: Uint8Array, nowMs: number): Region {
  return openRegionRecord(decode(SignedRecordSchema, bytes, RECORD_WHOLE_MAX_BYTES), nowMs)
}

export const regionBytes = (region: Region): Uint8Array => toBinary(SignedRecordSchema, region.record)

/** Every way into the region, as origins. */
export function originsOf(region: Region): string[] {
  return region.nodes.flatMap(({ clientUrls }) => clientUrls.flatMap((url) => tryOrigin(url)))
}

function tryOrigin(url: string): string[] {
  try {
    return [audienceOf(url)]
  } catch {
    return []
  }
}

/** Says what is at the wrong address instead of "no such page". */
async function askOf<T>(what: string, next: string, origin: string, path: string): Promise<T> {
  try {
    return await ask<T>({ method: 'GET', origin, path, token: undefined, body: undefined })
  } catch (error) {
    if (!(error instanceof ParleyError) || error.code !== 'not_found') throw error
    throw new ParleyError('not_found', `${origin} is not ${what}`, { origin, next })
  }
}

/** What the region at `origin` says of itself. */
export async function regionAt(origin: string, clock: Clock): Promise<Region> {
  const next = 'give the client URL of a relay, or --bootstrap for a bootstrap node'
  const answer = await askOf<{ record?: unknown }>('a relay', next, origin, '/v1/region')
  if (answer?.record === '') throw new ParleyError('unreachable', 'the region has no record of itself yet', { origin })
  return readRegion(fromBase64(answer?.record), clock.now())
}

/** Regions that a bootstrap node lists; what does not verify is left out, as is what comes after REGIONS_LISTED_MAX. */
export async function listRegions(bootstrap: string, clock: Clock): Promise<Region[]> {
  const next = 'give the URL of a bootstrap node, or --home for a relay'
  const answer = await askOf<{ regions?: unknown }>('a bootstrap node', next, bootstrap, '/v1/regions')
  const list = Array.isArray(answer?.regions) ? answer.regions : []
  return list.slice(0, limits.REGIONS_LISTED_MAX).flatMap((record: unknown) => {
    try {
      return [readRegion(fromBase64(record), clock.now())]
    } catch (error) {
      if (!(error instanceof ParleyError)) throw error
      return []
    }
  })
}

async function firstOf(bootstraps: readonly string[], clock: Clock): Promise<Region[]> {
  let last: unknown = new ParleyError('bad_argument', 'neither a bootstrap node nor a home region is known')
  for (const bootstrap of bootstraps) {
    try {
      const regions = await listRegions(bootstrap, clock)
      if (regions.length > 0) return regions
      last = new ParleyError('unreachable', `${bootstrap} knows no region yet`, { origin: bootstrap })
    } catch (error) {
      last = error
    }
  }
  throw last
}

async function timed(region: Region, origin: string, clock: Clock): Promise<Entry | undefined> {
  const start = clock.monotonic()
  const request = { method: 'GET', origin, path: '/v1/health', token: undefined, body: undefined } as const
  try {
    await ask({ ...request, timeoutMs: ENTRY_TIMING_MS })
    return { region, origin, latencyMs: clock.monotonic() - start }
  } catch {
    return undefined
  }
}

/** The way in that answers fastest. `unreachable` when none does. */
export async function fastestEntry(bootstraps: readonly string[], clock: Clock): Promise<Entry> {
  const regions = await firstOf(bootstraps, clock)
  const ways = regions.flatMap((region) => originsOf(region).map((origin) => ({ region, origin })))
  const entries = await Promise.all(
    ways.slice(0, ENTRIES_TIMED_MAX).map(({ region, origin }) => timed(region, origin, clock)),
  )
  const best = entries.filter((entry) => entry !== undefined).sort((a, b) => a.latencyMs - b.latencyMs)[0]
  if (!best) throw new ParleyError('unreachable', 'no region that the bootstrap node lists can be reached')
  return best
}

/** A newer record of the region, from itself or from a bootstrap node; undefined when nobody has one. */
export async function refreshRegion(
  known: Region,
  bootstraps: readonly string[],
  clock: Clock,
): Promise<Region | undefined> {
  const newer = (region: Region): boolean => region.regionId === known.regionId && compareVersions(region, known) > 0
  for (const origin of originsOf(known)) {
    const region = await regionAt(origin, clock).catch(() => undefined)
    if (region && newer(region)) return region
  }
  for (const bootstrap of bootstraps) {
    const regions = await listRegions(bootstrap, clock).catch(() => [])
    const found = regions.filter(newer).sort((a, b) => compareVersions(b, a))[0]
    if (found) return found
  }
  return undefined
}
