// Inputs that ever failed, as files: replayed before anything else, by the everyday suite too.
import { hash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Decoder } from '#protocol/decoders'

export const CORPUS = join(import.meta.dirname, 'corpus')

export type Kept = { readonly file: string; readonly bytes: Uint8Array }

const folderOf = (decoder: Pick<Decoder, 'name'>): string => decoder.name.replaceAll('/', '.')

/** Of one decoder, in the order of their names. */
export function keptInputs(decoder: Pick<Decoder, 'name'>, root = CORPUS): Kept[] {
  const folder = join(root, folderOf(decoder))
  let names: string[]
  try {
    names = readdirSync(folder).sort()
  } catch {
    return []
  }
  return names.map((name) => ({
    file: join(folder, name),
    bytes: new Uint8Array(Buffer.from(readFileSync(join(folder, name), 'latin1').replace(/\s+/g, ''), 'hex')),
  }))
}

/** Hex in lines, named by its hash. Returns the file. */
export function keepInput(decoder: Pick<Decoder, 'name'>, bytes: Uint8Array, root = CORPUS): string {
  const folder = join(root, folderOf(decoder))
  mkdirSync(folder, { recursive: true })
  const text = Buffer.from(bytes)
    .toString('hex')
    .replace(/.{100}/g, '$&\n')
  const file = join(folder, `${hash('sha256', bytes).slice(0, 16)}.hex`)
  writeFileSync(file, `${text}\n`)
  return file
}

/** Names of decoders that the corpus has inputs of. */
export function keptNames(root = CORPUS): string[] {
  try {
    return readdirSync(root)
  } catch {
    return []
  }
}
