// For whoever decodes in the thread that it runs in, as the everyday suite does: an input that never ends would stop it for
// ever, and nothing in that thread could say so. Another one looks on, says which input it is and ends the process.
import { Worker } from 'node:worker_threads'
import { HANG_MS } from './limits.ts'

export type Watchdog = Disposable & {
  /** From now on this one is under way. */
  begin(name: string, bytes: Uint8Array): void
  /** Nothing is under way. */
  rest(): void
}

const TEXT_MAX_BYTES = 4 * 1024
/** The number of the input under way, 0 while there is none, and how long the text about it is. */
const NUMBERS = 2
const HEADER_BYTES = NUMBERS * Int32Array.BYTES_PER_ELEMENT

/** Needs nothing that would have to be loaded first. */
const LOOK = `
const { workerData: { shared, ms } } = require('node:worker_threads')
const numbers = new Int32Array(shared, 0, ${NUMBERS})
for (let seen = 0; ; ) {
  const now = Atomics.load(numbers, 0)
  if (now !== 0 && now === seen) {
    const text = Buffer.from(shared, ${HEADER_BYTES}, numbers[1]).toString('latin1')
    require('node:fs').writeSync(2, text + ': does not end\\n')
    process.kill(process.pid, 'SIGKILL')
  }
  seen = now
  Atomics.wait(numbers, 0, now, ms)
}`

export function watchdog(ms = HANG_MS): Watchdog {
  const shared = new SharedArrayBuffer(HEADER_BYTES + TEXT_MAX_BYTES)
  const numbers = new Int32Array(shared, 0, NUMBERS)
  const worker = new Worker(LOOK, { eval: true, execArgv: [], workerData: { shared, ms } })
  worker.unref()
  let begun = 0
  return {
    begin(name, bytes) {
      const text = Buffer.from(`${name}, input ${Buffer.from(bytes.subarray(0, TEXT_MAX_BYTES)).toString('hex')}`)
      numbers[1] = text.copy(Buffer.from(shared, HEADER_BYTES))
      Atomics.store(numbers, 0, ++begun)
    },
    rest: () => void Atomics.store(numbers, 0, 0),
    [Symbol.dispose]() {
      Atomics.store(numbers, 0, 0)
      void worker.terminate()
    },
  }
}
