// Memory of a process of ours that really is in use: its inspector collects garbage first, several times over.
import { openInspector } from './inspector.ts'

export type MemoryUse = { readonly rss: number; readonly heapUsed: number; readonly external: number }

const COLLECTIONS = 3

/** `port`: where its inspector listens on this machine. Bytes. */
export async function memoryOf(port: number): Promise<MemoryUse> {
  using inspector = await openInspector(port)
  for (let i = 0; i < COLLECTIONS; i++) await inspector.ask('HeapProfiler.collectGarbage')
  return await inspector.evaluate<MemoryUse>('process.memoryUsage()')
}
