// A process that runs the seeds it is sent, and tells what came of them (run-seeds.ts).
import { runSeed } from './run.ts'

let last: Promise<unknown> = Promise.resolve()
process.on('message', (seed: number) => {
  last = last.then(async () => {
    const outcome = await runSeed(seed)
    if (process.connected) process.send!(outcome, () => {})
  })
})
// Whoever started this one has gone.
process.on('disconnect', () => process.exit())
process.send!('ready')
