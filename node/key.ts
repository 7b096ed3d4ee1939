import { chmod, link, mkdir, open, readFile, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ParleyError, type Random } from '#protocol'

const KEY_BYTES = 32
const OWNER_ONLY = 0o600

/** The 32 secret bytes of a node's Ed25519 key in a file of their own, made at the first call and kept for ever. */
export async function loadOrCreateNodeKey(file: string, random: Random): Promise<Uint8Array> {
  const kept = await loadKey(file)
  if (kept) return kept
  await mkdir(dirname(file), { recursive: true })
  const key = random.bytes(KEY_BYTES)
  const draft = `${file}.${Buffer.from(random.bytes(6)).toString('hex')}`
  const handle = await open(draft, 'wx', OWNER_ONLY)
  try {
    await handle.writeFile(key)
    await handle.sync()
  } finally {
    await handle.close()
  }
  try {
    // `link` refuses to replace: of two processes that start at once both get the same key.
    await link(draft, file)
    return key
  } catch (error) {
    const other = await loadKey(file)
    if (other) return other
    throw error
  } finally {
    await rm(draft, { force: true })
  }
}

async function loadKey(file: string): Promise<Uint8Array | undefined> {
  let bytes: Buffer
  try {
    bytes = await readFile(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  if (bytes.length !== KEY_BYTES) {
    throw new ParleyError('malformed', `${file} is no node key: ${bytes.length} bytes instead of ${KEY_BYTES}`, {
      file,
    })
  }
  await chmod(file, OWNER_ONLY)
  return new Uint8Array(bytes)
}
