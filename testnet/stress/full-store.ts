// A region whose disk is full: what would grow is refused with a reason and sent again, what is there is read, and when
// there is room again everything that people tried to say meanwhile arrives.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ADDRESS_VARIABLE, FAULTS_VARIABLE, NO_FAULTS, writeFaults } from '../chaos/faults.ts'
import { TEXT_BYTES } from '../load/limits.ts'
import type { Loader } from '../load/loader.ts'
import type { CaughtUp, Marked } from '../load/orders.ts'
import type { ManagedProcess, Preload } from '../process.ts'
import { HONEST_PAIRS, HONEST_PER_SECOND } from './limits.ts'
import type { Pressure } from './row.ts'

const HOOK = pathToFileURL(join(import.meta.dirname, '../chaos/fault-hook.ts')).href
/** Messages that were there before, for each of so many who read them meanwhile. */
const KEPT = 200
const READERS = 4
/** Verdicts that a device acts on by sending again. */
const BEHIND = '7'
const WAIT = '9'

/** A relay that is started with this has a disk that can be full. */
export async function fullable(dir: string): Promise<Preload & { readonly file: string }> {
  await mkdir(dir, { recursive: true })
  const file = join(dir, 'faults.json')
  writeFaults(file, NO_FAULTS)
  return { args: ['--import', HOOK], env: { [ADDRESS_VARIABLE]: '127.0.0.1', [FAULTS_VARIABLE]: file }, file }
}

export type FullStore = {
  readonly process: ManagedProcess
  readonly origin: string
  /** Where its faults stand. */
  readonly file: string
  readonly loader: Loader
}

export async function fullStore({ process, origin, file, loader }: FullStore): Promise<Pressure> {
  const suffer = (disk: 'fine' | 'full'): void => {
    writeFaults(file, { ...NO_FAULTS, disk })
    process.signal('SIGUSR2')
  }
  const pairs = { do: 'pairs', authors: origin, readers: origin, bytes: TEXT_BYTES, host: 'author' } as const
  await loader.ask({ ...pairs, group: 'kept', pairs: READERS, doneWhen: ['sequenced'], readersOn: false })
  await loader.ask({ do: 'send', group: 'kept', each: KEPT, flight: 8 })
  const doneWhen = ['sequenced', 'received'] as const
  await loader.ask({ ...pairs, group: 'full', pairs: HONEST_PAIRS, doneWhen, readersOn: true })
  await loader.ask({ do: 'start', group: 'full', loop: 'open', rate: HONEST_PER_SECOND, precise: false })
  let full = false
  return {
    pid: undefined,
    go() {
      full = true
      suffer('full')
    },
    async stop() {
      const read = await loader.ask<CaughtUp>({ do: 'readers-on', group: 'kept' })
      const { verdicts } = await loader.ask<Marked>({ do: 'mark', group: 'full' })
      full = false
      suffer('fine')
      await loader.ask({ do: 'stop', group: 'full' })
      const { faults } = await loader.ask<Marked>({ do: 'mark', group: 'full' })
      const others = Object.keys(verdicts).filter((field) => field !== WAIT && field !== BEHIND)
      const waits = verdicts[WAIT] ?? 0
      return {
        did: `told to wait ${waits} times; ${read.entries} read meanwhile; afterwards ${faults.length > 0 ? 'not ' : ''}all that was said arrived`,
        faults: [
          ...faults.map((fault) => `people of the full region: ${fault}`),
          ...(waits === 0 ? ['nobody was told to wait'] : []),
          ...(others.length > 0 ? [`verdicts that no full store gives: ${others.join(', ')}`] : []),
          ...(read.entries < READERS * KEPT ? [`only ${read.entries} of ${READERS * KEPT} could be read`] : []),
        ],
      }
    },
    async [Symbol.asyncDispose]() {
      if (full) suffer('fine')
    },
  }
}
