// A thread that fuzzes one decoder. The input under way stands in shared memory, so that it is known when it never ends.
import { parentPort, workerData } from 'node:worker_threads'
import { rememberSignatures } from '../cheap-crypto.ts'
import { type Covered, startCoverage } from './coverage.ts'
import { fuzz } from './fuzz.ts'
import { COVERED_EXECUTIONS } from './limits.ts'
import { decodersOf } from './registry.ts'
import { SHARED_HEADER_BYTES, SHARED_NUMBERS, type Task } from './task.ts'

async function work({ folder, name, seed, executions, shared }: Task): Promise<void> {
  // Refusals are made to be caught, and a stack is most of what one costs; judge.ts asks again for those that matter.
  Error.stackTraceLimit = 0
  const coverage = startCoverage()
  rememberSignatures()
  const decoder = (await decodersOf(folder)).find((one) => one.name === name)
  if (!decoder) throw new Error(`no decoder ${name}`)
  const numbers = new Int32Array(shared, 0, SHARED_NUMBERS)
  const input = new Uint8Array(shared, SHARED_HEADER_BYTES)
  let covered: Covered | undefined
  const about = (bytes: Uint8Array, done: number): void => {
    if (done === COVERED_EXECUTIONS) covered = coverage.take()
    const shown = bytes.length > input.length ? bytes.subarray(0, input.length) : bytes
    numbers[0] = done
    numbers[1] = shown.length
    input.set(shown)
    numbers[2]!++
  }
  const findings = await fuzz(decoder, { seed, executions, about })
  covered ??= coverage.take()
  parentPort!.postMessage({ findings, covered })
}

// Timers do not keep a thread alive, and what waits for a commit in memory waits for a timer.
const hold = (): void => undefined
parentPort!.on('message', hold)
await work(workerData as Task)
parentPort!.off('message', hold)
