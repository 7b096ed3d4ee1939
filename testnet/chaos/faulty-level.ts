// What a relay takes for level: the real one, one write at a time, each of which can be slow, fail, or be the last one.
// It also writes down, beside the store, how much of each log of level has been fsynced, so that whoever kills the
// process can take away what a power failure would: level syncs its tables and its manifest itself.
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { scheduler } from 'node:timers/promises'
import { Level as Real } from 'level'
import { systemRandom } from '#protocol'
import { current } from './current-faults.ts'
import { openSynced, readSynced, type SyncedLogs, writeNotes } from './power.ts'

type WriteOptions = { readonly sync?: boolean | undefined }
type Write = (options: WriteOptions) => Promise<void>
type Chained = { write(options?: WriteOptions): Promise<void> }

/** Outside of what the store reads. */
const MARK = Buffer.from('~synced')
const NOTHING = Buffer.alloc(0)

const die = (): void => void process.kill(process.pid, 'SIGKILL')

export class Level extends Real<Buffer, Buffer> {
  #turn: Promise<void> = Promise.resolve()
  #synced: SyncedLogs | undefined
  #noted: number | undefined

  override put(key: Buffer, value: Buffer, options: WriteOptions = {}): Promise<void> {
    return this.#write(options, (how) => super.put(key, value, how))
  }

  override del(key: Buffer, options: WriteOptions = {}): Promise<void> {
    return this.#write(options, (how) => super.del(key, how))
  }

  override batch(...args: unknown[]): never {
    const batch: (...args: unknown[]) => unknown = super.batch.bind(this) as never
    const [operations, options = {}] = args as [unknown, WriteOptions?]
    if (operations !== undefined) return this.#write(options, (how) => batch(operations, how) as Promise<void>) as never
    const chained = batch() as Chained
    const write = chained.write.bind(chained)
    chained.write = (how = {}) => this.#write(how, write)
    return chained as never
  }

  #write(options: WriteOptions, write: Write): Promise<void> {
    const turn = this.#turn.then(() => this.#now(options.sync === true, write))
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  async #now(sync: boolean, write: Write): Promise<void> {
    const { disk, fsyncMs, dies } = current()
    if (disk === 'failing') {
      // Whether it was written all the same is not known to who gets the error.
      if (systemRandom.fraction() < 0.5) await write({ sync })
      throw new Error('ENOSPC: no space left on device, write')
    }
    if (!sync) return await write({ sync: false })
    if (dies === 'before') die()
    if (fsyncMs > 0 || dies === 'unsynced') {
      await write({ sync: false })
      if (dies === 'unsynced') die()
      // A write that is under way keeps the process alive, as the real one does.
      await scheduler.wait(fsyncMs)
      await super.put(MARK, NOTHING, { sync: true })
    } else await write({ sync: true })
    this.#note()
    if (dies === 'synced') die()
  }

  /** Nothing else is being written: what the newest log holds now is on the disk. */
  #note(): void {
    const logs = readdirSync(this.location)
      .filter((name) => name.endsWith('.log'))
      .sort()
    const newest = logs.at(-1)
    if (newest === undefined) return
    this.#synced ??= readSynced(this.location)
    const kept = Object.entries(this.#synced).filter(([name]) => logs.includes(name))
    this.#synced = { ...Object.fromEntries(kept), [newest]: statSync(join(this.location, newest)).size }
    this.#noted ??= openSynced(this.location)
    writeNotes(this.#noted, this.#synced)
  }
}
