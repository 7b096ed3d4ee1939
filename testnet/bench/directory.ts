// Where a run keeps its stores: always in a directory that it makes, so that it removes nothing else at its end, and two
// runs over the same disk do not get in each other's way.
import { mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A new one below that one, or among the temporary ones; the caller removes it. */
export async function ownDirectory(below = tmpdir()): Promise<string> {
  await mkdir(below, { recursive: true })
  return await mkdtemp(join(below, 'parley-bench-'))
}
