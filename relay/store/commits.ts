// The way of a commit: what is put is gathered; a gather is closed into one record when the journal is free (or when it
// has become large) and appended; it counts when the append has resolved. One append at a time, in order.
import type { Frozen } from './checkpoint.ts'
import type { Cut, HotLog } from './hot-log.ts'
import type { Cell, Memory } from './memory.ts'
import {
  CHANGE_OVERHEAD_BYTES,
  CREATE,
  DELETE,
  ENTRY_OVERHEAD_BYTES,
  LOG_CHANGE_BYTES,
  PUT,
  RECORD_HEADER_BYTES,
  RecordWriter,
} from './record.ts'
import type { Journal, StoreHooks, StoreLimits } from './types.ts'

type Waiter = { readonly commit: number; resolve(): void; reject(error: Error): void }
type Sealed = { readonly number: number; readonly record: Buffer; readonly begun: Frozen | undefined }

export type CommitsPorts = {
  readonly memory: Memory
  readonly journal: Journal
  readonly hooks: StoreHooks
  readonly limits: StoreLimits
  readonly schedule: (callback: () => void) => void
  /** Whether the commit that is being closed, with so many bytes in it, begins a checkpoint. */
  wantsCheckpoint(bytes: number): boolean
  /** Rows hold everything up to and with this commit. */
  finished(): number
  /** The checkpoint that began with `commit` may write these: its beginning is durable. */
  begun(commit: number, frozen: Frozen): void
  fail(error: unknown): void
}

const BUFFERS_KEPT = 2
const SMALLEST_BUFFER_BYTES = 64 * 1024

export class Commits {
  readonly #ports: CommitsPorts
  /** The number of the commit being gathered. */
  #number: number
  #committed: number
  #changed: Cell[] = []
  #changedLogs: HotLog[] = []
  #notes: Uint8Array[] = []
  #bytes = RECORD_HEADER_BYTES
  readonly #queue: Sealed[] = []
  #appending = false
  #scheduled = false
  #sealing = false
  #large = false
  #asked = false
  #stopped: Error | undefined = undefined
  #waiters: Waiter[] = []
  readonly #buffers: Buffer[] = []
  count = 0
  journalBytes = 0

  constructor(ports: CommitsPorts, next: number) {
    this.#ports = ports
    this.#number = next
    this.#committed = next - 1
  }

  get committed(): number {
    return this.#committed
  }

  gate(): number {
    return this.#isEmpty() && !this.#asked ? this.#number - 1 : this.#number
  }

  change(partition: string, key: string, value: Uint8Array | undefined, absent: boolean): void {
    this.ensureRunning()
    const most = partition.length + key.length + (value ? value.length : 0) + CHANGE_OVERHEAD_BYTES
    this.#reserve(most)
    const memory = this.#ports.memory
    const cell = memory.change(partition, key, value, this.#number, absent)
    if (cell.commit !== this.#number) {
      cell.commit = this.#number
      this.#changed.push(cell)
    }
    // A key that is changed again counts twice until the commit is closed: an upper bound is enough.
    this.#bytes += most
    if (!this.#scheduled) this.#wake()
  }

  append(name: string, before: number, at: number, entry: Uint8Array): void {
    this.#begin(name.length + LOG_CHANGE_BYTES + ENTRY_OVERHEAD_BYTES + entry.length)
    this.#log(this.#ports.memory.logs.append(name, before, at, entry))
  }

  trim(name: string, low: number, last: number): void {
    this.#begin(name.length + LOG_CHANGE_BYTES)
    this.#log(this.#ports.memory.logs.trim(name, low, last))
  }

  cut(name: string, cut: Cut, low: number): void {
    this.#begin(2 * (name.length + LOG_CHANGE_BYTES))
    this.#log(this.#ports.memory.logs.cut(name, cut, low))
  }

  #begin(most: number): void {
    this.ensureRunning()
    this.#reserve(most)
    this.#bytes += most
  }

  #log(log: HotLog): void {
    if (log.commit !== this.#number) {
      log.commit = this.#number
      this.#changedLogs.push(log)
    }
    if (!this.#scheduled) this.#wake()
  }

  note(annotation: Uint8Array): void {
    this.ensureRunning()
    const most = annotation.length + 5
    this.#reserve(most)
    this.#notes.push(annotation)
    this.#bytes += most
    if (!this.#scheduled) this.#wake()
  }

  flushed(): Promise<void> {
    const commit = this.gate()
    if (this.#stopped) return Promise.reject(this.#stopped)
    if (commit <= this.#committed) return Promise.resolve()
    return new Promise((resolve, reject) => this.#waiters.push({ commit, resolve, reject }))
  }

  /** Closes a commit soon, though nothing may be pending: a checkpoint wants to begin with it. */
  ask(): void {
    this.#asked = true
    this.#wake()
  }

  ensureRunning(): void {
    if (this.#stopped) throw this.#stopped
  }

  stop(error: Error): void {
    this.#stopped ??= error
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter.reject(error)
  }

  #isEmpty(): boolean {
    return this.#changed.length === 0 && this.#changedLogs.length === 0 && this.#notes.length === 0
  }

  #reserve(most: number): void {
    const { limits } = this.#ports
    if (this.#bytes + most <= limits.commitMaxBytes) {
      if (this.#bytes + most > limits.sealBytes && !this.#large && !this.#sealing) {
        this.#large = true
        queueMicrotask(() => this.#sealLarge())
      }
      return
    }
    if (RECORD_HEADER_BYTES + most > limits.commitMaxBytes) throw new Error('a change is larger than a commit may be')
    if (this.#sealing) throw new Error('the closing hook put more than a commit may hold')
    this.#guard(() => this.#seal())
    if (this.#stopped) throw this.#stopped
  }

  #sealLarge(): void {
    if (!this.#large || this.#stopped) return
    this.#guard(() => {
      this.#seal()
      this.#append()
    })
  }

  #wake(): void {
    if (this.#scheduled || this.#sealing || this.#appending) return
    this.#scheduled = true
    this.#ports.schedule(() => {
      this.#scheduled = false
      if (!this.#stopped) this.#guard(() => this.#append())
    })
  }

  /** What hooks throw ends the store: their step may have been cut in half. */
  #guard(step: () => void): void {
    try {
      step()
    } catch (error) {
      this.#ports.fail(error)
    }
  }

  #seal(): void {
    const { hooks, memory } = this.#ports
    const number = this.#number
    this.#sealing = true
    hooks.closing(number)
    this.#sealing = false
    const begins = this.#ports.wantsCheckpoint(this.#bytes)
    const writer = new RecordWriter(this.#buffer(this.#bytes), {
      number,
      begun: begins,
      finished: this.#ports.finished(),
      annotations: this.#notes,
    })
    for (const cell of this.#changed) {
      const { value } = cell
      if (value) writer.change(cell.born ? CREATE : PUT, cell.part.name, cell.key, value)
      else if (!cell.born) writer.change(DELETE, cell.part.name, cell.key, undefined)
      memory.settle(cell)
    }
    for (const log of this.#changedLogs) writer.log(log.name, log.takeChanges())
    const record = writer.finish()
    const frozen = begins ? { cells: memory.freeze(), logs: memory.logs.freeze() } : undefined
    this.#queue.push({ number, record, begun: frozen })
    this.#number++
    this.#changed = []
    this.#changedLogs = []
    this.#notes = []
    this.#bytes = RECORD_HEADER_BYTES
    this.#large = false
    this.#asked = false
  }

  #append(): void {
    if (this.#appending) return
    if (this.#queue.length === 0) {
      if (this.#isEmpty() && !this.#asked) return
      this.#seal()
    }
    const sealed = this.#queue.shift()!
    this.#appending = true
    this.#ports.journal.append(sealed.number, sealed.record).then(
      () => this.#guard(() => this.#appended(sealed)),
      (error) => this.#ports.fail(error),
    )
  }

  #appended(sealed: Sealed): void {
    if (this.#stopped) return
    this.#appending = false
    this.#committed = sealed.number
    this.count++
    this.journalBytes += sealed.record.length
    this.#recycle(sealed.record)
    if (sealed.begun) this.#ports.begun(sealed.number, sealed.begun)
    this.#ports.hooks.committed(sealed.number)
    let done = 0
    while (done < this.#waiters.length && this.#waiters[done]!.commit <= sealed.number) this.#waiters[done++]!.resolve()
    if (done > 0) this.#waiters = this.#waiters.slice(done)
    if (!this.#stopped) this.#append()
  }

  #buffer(bytes: number): Buffer {
    const kept = this.#buffers.findIndex((buffer) => buffer.length >= bytes)
    if (kept >= 0) return this.#buffers.splice(kept, 1)[0]!
    let size = SMALLEST_BUFFER_BYTES
    while (size < bytes) size *= 2
    return Buffer.allocUnsafeSlow(size)
  }

  #recycle(record: Buffer): void {
    const whole = Buffer.from(record.buffer)
    if (this.#buffers.length === BUFFERS_KEPT) this.#buffers.shift()
    if (whole.length <= 2 * this.#ports.limits.sealBytes) this.#buffers.push(whole)
  }
}
