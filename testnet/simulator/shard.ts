// A process that runs the seeds and scenes it is sent, and tells what came of them (run-seeds.ts).
import type { Scene } from './acts.ts'
import { runScene, runSeed } from './run.ts'

let last: Promise<unknown> = Promise.resolve()
process.on('message', (told: number | Scene) => {
  last = last.then(async () => {
    const outcome = await (typeof told === 'number' ? runSeed(told) : runScene(told))
    if (process.connected) process.send!(outcome, () => {})
  })
})
// Whoever started this one has gone.
process.on('disconnect', () => process.exit())
process.send!('ready')
