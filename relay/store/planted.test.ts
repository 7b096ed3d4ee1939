// The model checker must find each of these errors, planted one at a time by patching the sources while they load.
import assert from 'node:assert/strict'
import { registerHooks } from 'node:module'
import { test } from 'node:test'
import { runSchedule, Violation } from './model.ts'
import type * as StoreModule from './store.ts'

type Plant = { readonly name: string; readonly file: string; readonly from: string; readonly to: string }

const PLANTS: readonly Plant[] = [
  {
    name: 'elision without begun',
    file: 'replay.ts',
    from: 'kind === CREATE && isNew',
    to: 'kind === CREATE',
  },
  {
    name: 'two changes of one key in a record',
    file: 'commits.ts',
    from: 'if (cell.commit !== this.#number) {',
    to: 'if (true) {',
  },
  {
    name: 'trim before rows',
    file: 'checkpoint.ts',
    from: 'for (let at = 0; at < cells.length; ) at',
    to: 'this.#finished = commit; this.#trim(1); await this.#trimming; for (let at = 0; at < cells.length; ) at',
  },
  {
    name: 'acknowledged before durable',
    file: 'commits.ts',
    from: 'journal.append(sealed.number, sealed.record).then(',
    to: 'journal.append(sealed.number, sealed.record).catch(() => {}); Promise.resolve().then(',
  },
  {
    name: 'rows written before begun is durable',
    file: 'commits.ts',
    from: 'begun: frozen })',
    to: 'begun: undefined }); if (frozen) this.#ports.begun(number, frozen)',
  },
  {
    name: 'rows get what is not committed',
    file: 'memory.ts',
    from: 'return cell.changedSinceFrozen ? cell.frozen : cell.value',
    to: 'return cell.value',
  },
  {
    name: 'a get that does not look into memory again',
    file: 'reads.ts',
    from: 'return this.#memory.find(partition, key)!.value',
    to: 'return value',
  },
  {
    name: 'memory forgets a row that a read under way has not seen',
    file: 'memory.ts',
    from: ' || cell.cleanSince > oldestRead',
    to: '',
  },
  {
    name: 'memory forgets a deletion that a read under way has not seen',
    file: 'memory.ts',
    from: 'if (cell.cleanSince > this.#oldestRead()) this.#toClean(cell)\n    else ',
    to: '',
  },
  {
    name: 'deletes without a tombstone',
    file: 'memory.ts',
    from: 'cell.value !== undefined || !cell.absent ||',
    to: 'cell.value !== undefined ||',
  },
  {
    name: 'known absent through a checkpoint',
    file: 'memory.ts',
    from: 'cell.absent = false',
    to: 'cell.absent ||= false',
  },
  {
    name: 'deletes of what an earlier commit put are left out',
    file: 'commits.ts',
    from: 'else if (!cell.born) writer',
    to: 'else if (!cell.absent) writer',
  },
  {
    name: 'the marked record is trimmed',
    file: 'checkpoint.ts',
    from: 'Math.min(this.#finished, ',
    to: 'Math.min(this.#finished + 1, ',
  },
  {
    name: 'trimmed though feeds need it',
    file: 'checkpoint.ts',
    from: 'Math.min(this.#finished, this.#ports.hooks.trimBelow())',
    to: 'this.#finished',
  },
  {
    name: 'a range that ends at deleted keys',
    file: 'reads.ts',
    from: 'if (whole || merged.length === options.limit) return merged',
    to: 'return merged',
  },
  {
    name: 'a range that takes memory beyond what rows have answered',
    file: 'reads.ts',
    from: 'const edge = whole ? undefined : last',
    to: 'const edge = undefined',
  },
  {
    name: 'a checkpoint that says finished when it begins',
    file: 'checkpoint.ts',
    from: 'for (let at = 0; at < cells.length; ) at',
    to: 'this.#finished = commit; for (let at = 0; at < cells.length; ) at',
  },
  {
    name: 'replay takes for done what has only begun',
    file: 'replay.ts',
    from: 'number > finished ?',
    to: 'number > begun ?',
  },
  {
    name: 'a checkpoint loses entries that are trimmed before they are written',
    file: 'hot-log.ts',
    from: 'if (low <= this.low) return 0\n    this.#setAside()',
    to: 'if (low <= this.low) return 0',
  },
  {
    name: 'a checkpoint loses entries that are cut before they are written',
    file: 'hot-log.ts',
    from: 'cut(cut: Cut, low: number): void {\n    this.#setAside()',
    to: 'cut(cut: Cut, low: number): void {',
  },
  {
    name: 'rows of a log that an interrupted checkpoint wrote are forgotten',
    file: 'replay.ts',
    from: 'if (!isNew) log.mayBeInRows()',
    to: '',
  },
  {
    name: 'void entries stay in rows',
    file: 'log-checkpoint.ts',
    from: 'for (const { after, last } of cuts) {',
    to: 'for (const { after, last } of cuts.slice(0, 0)) {',
  },
  {
    name: 'rows of trimmed entries stay',
    file: 'hot-log.ts',
    from: 'return low > this.#rowsLow && this.#rowsTop > this.#rowsLow ?',
    to: 'return low > this.#rowsLow && this.#rowsTop > low ?',
  },
  {
    name: 'a read of a log does not notice what moved from memory to rows',
    file: 'log-reads.ts',
    from: 'this.#after = end\n',
    to: 'this.#after = log ? Math.max(end, this.#logs.find(this.#name)!.written) : end\n',
  },
  {
    name: 'a read of a log takes what is void',
    file: 'log-reads.ts',
    from: ' || log.isVoid(at)',
    to: '',
  },
  {
    name: 'a read of a log takes what is void since it began',
    file: 'log-reads.ts',
    from: 'if (logs.cutCount === cuts) return read.out',
    to: 'return read.out',
  },
  {
    name: 'a log is forgotten before it is written',
    file: 'hot-logs.ts',
    from: 'log.epoch !== CLEAN || log.size > 0',
    to: 'log.size > 0',
  },
  {
    name: 'goes on after a failure',
    file: 'store.ts',
    from: 'this.#stop(error)\n    this.#hooks.failed(error)',
    to: 'this.#hooks.failed(error)',
  },
]
const SEEDS_MAX = 400
const STEPS = 200

registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context)
    const plant = new URL(context.parentURL ?? 'file:///').searchParams.get('plant')
    const inside = plant && specifier.startsWith('./')
    return inside ? { ...found, url: `${found.url}?plant=${plant}` } : found
  },
  load(url, context, next) {
    const loaded = next(url, context)
    const plant = PLANTS[Number(new URL(url).searchParams.get('plant') ?? -1)]
    if (!plant || !new URL(url).pathname.endsWith(`/store/${plant.file}`)) return loaded
    const source = String(loaded.source)
    if (source.split(plant.from).length !== 2) throw new Error(`the plant "${plant.name}" no longer fits ${plant.file}`)
    return { ...loaded, source: source.replace(plant.from, () => plant.to) }
  },
})

for (const [index, plant] of PLANTS.entries()) {
  test(`the model checker finds: ${plant.name}`, async (t) => {
    const { openStore }: typeof StoreModule = await import(`./store.ts?plant=${index}`)
    for (let seed = 1; seed <= SEEDS_MAX; seed++) {
      try {
        await runSchedule(openStore, seed, STEPS)
      } catch (error) {
        t.diagnostic(`seed ${seed}: ${(error as Error).message}`)
        assert.ok(error instanceof Violation || (error as { code?: string }).code === 'store_damaged', String(error))
        return
      }
    }
    assert.fail(`not found in ${SEEDS_MAX} seeds`)
  })
}
