// A region that stands still (SIGSTOP) while people write to it, and comes back.
import type { Marked } from '../load/orders.ts'
import type { ManagedProcess } from '../process.ts'
import { HONEST_PER_SECOND } from './limits.ts'
import type { Honest, Pressure } from './row.ts'

/** These write to it all the time; its readers catch up when it goes on. */
export async function stalledRegion(
  process: Pick<ManagedProcess, 'signal'>,
  { loader, group }: Honest,
): Promise<Pressure> {
  await loader.ask({ do: 'forget-faults', group })
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
      // Answers when everything that was sent has arrived, or notes what has not.
      await loader.ask({ do: 'stop', group })
      const { faults } = await loader.ask<Marked>({ do: 'mark', group })
      return {
        did: `a region stood still; afterwards ${faults.length > 0 ? 'not ' : ''}all that was written to it arrived`,
        faults: faults.map((fault) => `people who write to it: ${fault}`),
      }
    },
    async [Symbol.asyncDispose]() {
      if (still) process.signal('SIGCONT')
    },
  }
}
