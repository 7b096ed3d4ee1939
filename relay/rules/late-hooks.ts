import type { StoreHooks } from '../store/types.ts'
import type { RelayEngine } from './ports.ts'

/**
 * The store wants its hooks before there is an engine, the engine its store: what stands between them until `attach`.
 * Nothing is committed before, since nobody has put anything.
 */
export function lateHooks(failed: (error: Error) => void): { hooks: StoreHooks; attach(engine: RelayEngine): void } {
  let engine: RelayEngine | undefined
  return {
    hooks: {
      closing: (commit) => engine?.hooks.closing(commit),
      committed: (commit) => engine?.hooks.committed(commit),
      trimBelow: () => engine?.hooks.trimBelow() ?? 0,
      failed,
    },
    attach(ready) {
      engine = ready
    },
  }
}
