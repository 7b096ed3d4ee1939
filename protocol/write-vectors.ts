// Writes protocol/vectors/*.json: `node protocol/write-vectors.ts`, after a wanted change of the wire.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeVectors, vectorText } from './vectors.ts'

for (const [name, file] of Object.entries(makeVectors())) {
  writeFileSync(join(import.meta.dirname, 'vectors', `${name}.json`), vectorText(file))
}
