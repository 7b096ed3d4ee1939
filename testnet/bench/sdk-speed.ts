// How fast the SDK is with everything in it: libsignal, the encrypted database, the socket. Two people with one device
// each have their home in one region, whose relay is a process of its own, as is each device. One sends while the other
// is away (durable ciphertext, frame, number heard); then the other comes and takes all of it (decrypted, committed,
// acknowledged).
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { systemClock } from '#protocol'
import { launchTestnet, type Testnet } from '../launch.ts'
import { launchAccount } from '../people.ts'
import { readOptions, Usage, wholeNumber } from '../usage.ts'
import {
  SDK_AHEAD,
  SDK_COUNT,
  SDK_COUNT_MAX,
  SDK_PROCESS_MS,
  SDK_ROUNDS,
  SDK_ROUNDS_MAX,
  SDK_TEXT_BYTES,
  SDK_WARM_UP,
} from './sdk-limits.ts'
import type { SdkOrder, SdkSpent, SdkTold } from './sdk-orders.ts'

const PROGRAM = join(import.meta.dirname, 'sdk-device.ts')
const REGION = 'home'

export type SdkOptions = {
  /** Messages of one round. */
  readonly count: number
  readonly rounds: number
  /** For the devices' processes, as `--cpu-prof`. */
  readonly execArgv: readonly string[]
  readonly progress: (line: string) => void
}
/** One entry a round. */
export type SdkFigures = { readonly sends: readonly SdkSpent[]; readonly receives: readonly SdkSpent[] }

export const SDK_DEFAULTS: SdkOptions = {
  count: SDK_COUNT,
  rounds: SDK_ROUNDS,
  execArgv: [],
  progress: () => undefined,
}

export const perSecond = ({ count, wallMs }: SdkSpent): number => (count * 1000) / wallMs
/** Microseconds of CPU time for one message. */
export const cpuUs = ({ count, cpuMs }: SdkSpent): number => (cpuMs * 1000) / count

type Person = { readonly userId: string; readonly profile: string; readonly passphraseFile: string }
/** Disposed of, it is gone, whatever it was doing. */
type SdkDevice = AsyncDisposable & { ask(order: SdkOrder): Promise<SdkSpent | undefined>; close(): Promise<void> }

async function makePerson(network: Testnet, name: string): Promise<Person> {
  const { parley, profile, passphraseFile } = await launchAccount(network, name, REGION)
  const { userId } = parley
  await parley.close()
  return { userId, profile, passphraseFile }
}

async function startDevice(person: Person, execArgv: readonly string[]): Promise<SdkDevice> {
  const child = fork(PROGRAM, [person.profile, person.passphraseFile], { execArgv: [...execArgv] })
  const gone = once(child, 'exit')
  let failed: (error: Error) => void = () => undefined
  let told: (told: SdkTold) => void = () => undefined
  child.on('message', (it: SdkTold) => told(it))
  child.on('exit', (code, signal) => failed(new Error(`a device has ended (${signal ?? `code ${code}`})`)))
  const next = (): Promise<SdkTold> =>
    new Promise((resolve, reject) => {
      told = resolve
      failed = reject
    })
  const ask = async (order: SdkOrder): Promise<SdkSpent | undefined> => {
    const answer = next()
    child.send(order)
    const it = await answer
    if ('error' in it) throw new Error(it.error)
    return 'value' in it ? it.value : undefined
  }
  await next()
  return {
    ask,
    async close() {
      const timer = systemClock.after(SDK_PROCESS_MS, () => child.kill('SIGKILL'))
      await ask({ do: 'close' })
      await gone
      timer.cancel()
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await gone
    },
  }
}

/** Both directions, so that what is measured is not the first message of a session. */
async function greetEachOther(one: Person, other: Person): Promise<void> {
  await using first = await startDevice(one, [])
  await using second = await startDevice(other, [])
  for (const device of [first, second]) await device.ask({ do: 'connect' })
  await first.ask({ do: 'greet', to: other.userId })
  await second.ask({ do: 'greet', to: one.userId })
  await first.ask({ do: 'greet', to: other.userId })
  for (const device of [first, second]) await device.close()
}

/**
 * Both devices are warm, and everything of the warm-up has arrived and is acknowledged, when the other one leaves and the
 * sending that counts begins; when that has ended and the sender is gone, the other one comes back and takes all of it.
 */
async function oneRound(ana: Person, ben: Person, { count, execArgv }: SdkOptions) {
  await using sender = await startDevice(ana, execArgv)
  await using reader = await startDevice(ben, execArgv)
  const send = { do: 'send', to: ben.userId, bytes: SDK_TEXT_BYTES, ahead: SDK_AHEAD } as const
  await sender.ask({ ...send, count: SDK_WARM_UP })
  await reader.ask({ do: 'receive', count: SDK_WARM_UP })
  await sender.ask({ do: 'until-delivered' })
  await reader.ask({ do: 'leave' })
  const sent = (await sender.ask({ ...send, count }))!
  await sender.close()
  const received = (await reader.ask({ do: 'receive', count }))!
  await reader.close()
  return { sent, received }
}

export async function sdkSpeed(options: SdkOptions): Promise<SdkFigures> {
  await using network = await launchTestnet({ regions: [{ name: REGION }] })
  const ana = await makePerson(network, 'ana')
  const ben = await makePerson(network, 'ben')
  await greetEachOther(ana, ben)
  const { rounds, progress } = options
  const sends: SdkSpent[] = []
  const receives: SdkSpent[] = []
  for (let round = 1; round <= rounds; round++) {
    const { sent, received } = await oneRound(ana, ben, options)
    sends.push(sent)
    receives.push(received)
    progress(`round ${round} of ${rounds}: ${lineOf(sent, 'sends')}, ${lineOf(received, 'receives')}`)
  }
  return { sends, receives }
}

const lineOf = (spent: SdkSpent, what: string): string =>
  `${perSecond(spent).toFixed(0)} ${what}/s (${cpuUs(spent).toFixed(0)} µs CPU each)`

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

const HELP = `node testnet/bench/sdk-speed.ts [--count N] [--rounds R] [--cpu-prof DIR]

Sends and receives per second of one device over the SDK: libsignal, the encrypted database, the socket to a relay.
  --count N       messages a round, ${SDK_COUNT} unless given
  --rounds R      rounds, ${SDK_ROUNDS} unless given; the last line has the medians
  --cpu-prof DIR  writes a CPU profile of each device there
`

const OPTIONS = {
  count: { type: 'string', default: `${SDK_COUNT}` },
  rounds: { type: 'string', default: `${SDK_ROUNDS}` },
  'cpu-prof': { type: 'string' },
  help: { type: 'boolean' },
} as const

async function main(): Promise<void> {
  const values = readOptions(OPTIONS)
  if (values.help) return console.log(HELP)
  const dir = values['cpu-prof']
  const { sends, receives } = await sdkSpeed({
    count: wholeNumber(values.count, 'count', 1, SDK_COUNT_MAX),
    rounds: wholeNumber(values.rounds, 'rounds', 1, SDK_ROUNDS_MAX),
    execArgv: dir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${dir}`],
    progress: (line) => console.log(line),
  })
  const [sent, received] = [median(sends.map(perSecond)), median(receives.map(perSecond))]
  console.log(`median: ${sent.toFixed(0)} sends/s, ${received.toFixed(0)} receives/s`)
}

async function run(): Promise<void> {
  try {
    await main()
  } catch (error) {
    if (!(error instanceof Usage)) throw error
    console.error(`sdk-speed: ${error.message}`)
    process.exitCode = 2
  }
}

if (import.meta.main) await run()
