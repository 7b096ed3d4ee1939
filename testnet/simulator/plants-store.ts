// Bugs planted into the store.
import type { Plant } from './plants.ts'

export const STORE_PLANTS: readonly Plant[] = [
  {
    id: 'checkpoint-finishes-early',
    file: 'relay/store/checkpoint.ts',
    patches: [
      [
        '      for (let at = 0; at < cells.length; ) at = await this.#slice(cells, at)\n',
        '      if (cells.length > 0) await this.#slice(cells, 0)\n',
      ],
    ],
    explain: 'a checkpoint counts as finished after its first batch, and the journal is trimmed',
    checks: ['nothing-lost', 'converges', 'failure'],
    seeds: 20,
  },
  {
    id: 'replay-skips-a-record',
    file: 'relay/store/replay.ts',
    patches: [['number > finished ? fold', 'number > finished + 1 ? fold']],
    explain: 'a restart does not read the first record that rows lack',
    checks: ['nothing-lost', 'converges', 'failure', 'told-is-durable'],
    seeds: 30,
  },
  {
    id: 'elided-what-rows-may-hold',
    file: 'relay/store/replay.ts',
    patches: [
      ['kind === CREATE && isNew', 'kind === CREATE'],
      ['    if (!isNew) log.mayBeInRows()\n', ''],
    ],
    explain: 'a key that an interrupted checkpoint wrote is forgotten as if rows had never held it, and comes back',
    checks: ['converges', 'failure'],
    seeds: 400,
  },
  {
    id: 'row-over-memory',
    file: 'relay/store/reads.ts',
    patches: [
      [
        '      if (row < rows.length && rows[row]![0] === cell.key) row++\n      if (cell.value)',
        '      if (row < rows.length && rows[row]![0] === cell.key) continue\n      if (cell.value)',
      ],
    ],
    explain: 'a range takes what rows say where memory knows better',
    checks: ['converges', 'failure', 'nothing-lost'],
    seeds: 60,
  },
]
