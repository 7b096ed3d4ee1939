// A region that stands still (SIGSTOP) while people write to it, and comes back.
import type { ManagedProcess } from '../process.ts'
import { HONEST_PER_SECOND } from './limits.ts'
import type { Honest, Pressure } from './row.ts'

/** These write to it all the time; its readers catch up when it goes on. */
export async function stalledRegion(process: ManagedProcess, { loader, group }: Honest): Promise<Pressure> {
  await loader.ask({ do: 'start', group, loop: 'open', rate: HONEST_PER_SECOND, precise: false })
  let still = false
  return {
    pid: undefined,
    go() {
      still = true
      process.signal('SIGSTOP')
    },
    async stop() {
      process.signal('SIGCONT')
      still = false
      // Answers when everything that was sent has arrived.
      await loader.ask({ do: 'stop', group })
      return { did: 'a region stood still; afterwards all that was written to it arrived' }
    },
    async [Symbol.asyncDispose]() {
      if (still) process.signal('SIGCONT')
    },
  }
}
