// Lives of a store: one more after every restore. What began in an earlier one may have gone on without it.

import type { Core } from './core.ts'
import type { Founding } from './founding.ts'
import type { RelayPorts } from './ports.ts'

type Lives = Pick<Core, 'life' | 'isOrphaned'> & {
  /** The present one, or that in which a conversation began that is founded. */
  readonly lifeOf: (founding?: Founding) => number
}

export function livesOf({ region, directory }: RelayPorts, life: () => number): Lives {
  const isOrphaned: Core['isOrphaned'] = ({ host, members }) =>
    host === region && directory.knownManifest(members[0]!.userId) === undefined
  return {
    life,
    isOrphaned,
    // It may have begun before the store went back: elsewhere, or by an account of that time.
    lifeOf: (founding) => (founding && (founding.host !== region || isOrphaned(founding)) ? 1 : life()),
  }
}
