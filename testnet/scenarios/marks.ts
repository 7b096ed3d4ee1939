// Random marks that travel as what people say, and a search for them where no relay may have them: in each spelling that
// bytes take on their way into a file, a row, a log or a frame.
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Level } from 'level'
import { systemRandom } from '#protocol'

const MARK_BYTES = 18

/** One place that was searched, with what is there. */
export type Found = { readonly place: string; readonly bytes: Uint8Array }

export const newMark = (): string => `mark ${Buffer.from(systemRandom.bytes(MARK_BYTES)).toString('base64url')}`

/**
 * In base64 the same bytes look different after 0, 1 or 2 others; what depends on the neighbours is left out. Base64 of
 * base64 is searched too: records travel in JSON that way.
 */
function base64Forms(bytes: Uint8Array): Buffer[] {
  return [0, 1, 2].map((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64')
    const first = before === 0 ? 0 : 4
    return Buffer.from(text.slice(first, Math.floor((before + bytes.length) / 3) * 4))
  })
}

export function formsOf(mark: string): Buffer[] {
  const raw = Buffer.from(mark)
  const base64 = base64Forms(raw)
  const url = base64.map((form) => Buffer.from(form.toString().replaceAll('+', '-').replaceAll('/', '_')))
  const hex = raw.toString('hex')
  return [raw, ...base64, ...url, ...base64.flatMap(base64Forms), Buffer.from(hex), Buffer.from(hex.toUpperCase())]
}

/** Where which of the marks stands. */
export function search(places: Iterable<Found>, marks: readonly string[]): string[] {
  const forms = marks.map(formsOf)
  const hits: string[] = []
  for (const { place, bytes } of places) {
    const there = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    for (const [i, mark] of marks.entries()) {
      if (forms[i]!.some((form) => there.includes(form))) hits.push(`${place}: ${mark}`)
    }
  }
  return hits
}

export async function filesBelow(directory: string): Promise<Found[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  return await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async ({ parentPath, name }) => {
        const place = join(parentPath, name)
        return { place, bytes: new Uint8Array(await readFile(place)) }
      }),
  )
}

/**
 * Every row of a store that no process has open, read from a copy. On disk level cuts what is long
 * into blocks, so files alone do not show it whole. `plant`: a row that is put into the copy before.
 */
export async function rowsOf(store: string, plant?: string): Promise<Found[]> {
  const copy = await mkdtemp(join(tmpdir(), 'parley-rows-'))
  try {
    await cp(store, copy, { recursive: true })
    const database = new Level<Uint8Array, Uint8Array>(copy, { keyEncoding: 'view', valueEncoding: 'view' })
    const rows: Found[] = []
    if (plant !== undefined) await database.put(Buffer.from('planted'), Buffer.from(`....${plant}....`))
    for await (const [key, value] of database.iterator()) {
      rows.push({ place: `row ${rows.length} of ${store}`, bytes: new Uint8Array(Buffer.concat([key, value])) })
    }
    await database.close()
    return rows
  } finally {
    await rm(copy, { recursive: true })
  }
}
