// Reads files as a whole, one after the other into the same memory: a start reads hundreds of megabytes.
import { open } from 'node:fs/promises'

/** A file's bytes, in `room` if they fit. */
export async function readInto(path: string, room: Buffer): Promise<Buffer> {
  await using file = await open(path, 'r')
  const { size } = await file.stat()
  const bytes = (room.length < size ? Buffer.allocUnsafeSlow(size) : room).subarray(0, size)
  for (let at = 0; at < size; ) {
    const { bytesRead } = await file.read(bytes, at, size - at, at)
    if (bytesRead === 0) throw new Error(`${path} has become shorter`)
    at += bytesRead
  }
  return bytes
}
