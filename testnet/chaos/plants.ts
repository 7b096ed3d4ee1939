// Bugs that real crashes must find, planted one at a time like those of the simulator (simulator/plant-hook.ts), which
// does not run these files.
import type { Plant } from '../simulator/plants.ts'

export type StorePlant = Pick<Plant, 'id' | 'file' | 'patches' | 'explain'>

export const STORE_PLANTS: readonly StorePlant[] = [
  {
    id: 'commit-not-synced',
    file: 'relay/store/segments.ts',
    patches: [
      ['const WRITE_THROUGH = constants.O_DSYNC ?? 0', 'const WRITE_THROUGH: number = 0'],
      ['if (!WRITE_THROUGH) await', 'if (WRITE_THROUGH) await'],
    ],
    explain: 'a commit counts when it was written, before it was fsynced: a power failure takes acknowledged messages',
  },
  {
    id: 'acknowledged-before-commit',
    file: 'relay/store/commits.ts',
    patches: [
      [
        'this.#ports.journal.append(sealed.number, sealed.record).then(',
        'this.#ports.journal.append(sealed.number, Buffer.from(sealed.record)).catch(() => {})\n    Promise.resolve().then(',
      ],
    ],
    explain: 'a commit counts before it was written: a crash in between takes acknowledged messages',
  },
]
