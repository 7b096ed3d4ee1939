// Real text: the licence over and over, each line with its number, empty lines and all.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const LICENCE = join(import.meta.dirname, '..', '..', 'LICENSE')

/** `name` makes the lines of one phase different from those of every other. */
export function textOf(name: string, count: number): string[] {
  const licence = readFileSync(LICENCE, 'utf8').replace(/\n$/, '').split('\n')
  return Array.from({ length: count }, (_, i) => `${name} ${i + 1} ${licence[i % licence.length]}`)
}
