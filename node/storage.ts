import { Level } from 'level'
import { ParleyError } from '#protocol'
import type { NodeStorage } from './types.ts'

/** Forgets everything with the process: for tests and for nodes that only look. */
export function memoryStorage(): NodeStorage {
  const rows = new Map<string, Uint8Array>()
  return {
    get: async (key) => rows.get(key),
    put: async (key, value) => {
      rows.set(key, value)
    },
    delete: async (key) => {
      rows.delete(key)
    },
    range: async (prefix, { after, limit }) =>
      [...rows]
        .filter(([key]) => key.startsWith(prefix) && (after === undefined || key > after))
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .slice(0, limit),
  }
}

/** A directory of its own, for a node without a relay's store. Throws `store_in_use` when another process has it. */
export async function openLevelStorage(directory: string): Promise<NodeStorage & AsyncDisposable> {
  const db = new Level<string, Uint8Array>(directory, { keyEncoding: 'utf8', valueEncoding: 'view' })
  try {
    await db.open()
  } catch (error) {
    throw openError(error, directory)
  }
  return {
    get: (key) => db.get(key),
    // The types know only abstract-level's options; `sync` is classic-level's.
    put: (key, value) => db.put(key, value, { sync: true } as object),
    delete: (key) => db.del(key, { sync: true } as object),
    async range(prefix, { after, limit }) {
      const from = after === undefined ? { gte: prefix } : { gt: after }
      return db.iterator({ ...from, lt: `${prefix}\uffff`, limit }).all()
    },
    [Symbol.asyncDispose]: () => db.close(),
  }
}

function openError(error: unknown, directory: string): unknown {
  const cause = error instanceof Error ? (error.cause as (Error & { code?: string }) | undefined) : undefined
  if (cause?.code === 'LEVEL_LOCKED') {
    return new ParleyError(
      'store_in_use',
      `another process uses ${directory}: stop it, or give this one another directory`,
      { directory },
    )
  }
  if (cause && /permission denied/i.test(cause.message)) {
    return new ParleyError('unauthorized', `no rights to write in ${directory}`, { directory })
  }
  return error
}
