// One network for many scenarios, with a recording proxy in front of every relay, and people on it.
import { Parley, type Stage as Reached } from '#client'
import { systemClock, type UserId } from '#protocol'
import { launchAccount, launchTestnet, type TestAccount, type Testnet } from '../index.ts'
import { type Connection, type RecordingProxy, recordingProxy } from './recording-proxy.ts'

const STEP_MAX_MS = 20_000

export type Stage = AsyncDisposable & {
  readonly network: Testnet
  /** Everything between clients and the relay of a region so far. */
  recorded(region: string): readonly Connection[]
}

export async function openStage(...regions: string[]): Promise<Stage> {
  const proxies = new Map<string, RecordingProxy>()
  const inFront = async (region: string, clientPort: number): Promise<string> => {
    const proxy = await recordingProxy(clientPort)
    proxies.set(region, proxy)
    return proxy.url
  }
  const network = await launchTestnet({ regions: regions.map((name) => ({ name })), inFront })
  return {
    network,
    recorded: (region) => proxies.get(region)?.connections ?? [],
    async [Symbol.asyncDispose]() {
      await network.close()
      for (const proxy of proxies.values()) await proxy[Symbol.asyncDispose]()
    },
  }
}

export type Person = Omit<TestAccount, 'parley'> & { readonly userId: UserId }

/** A new account; its profile is closed. */
export async function newcomer(stage: Stage, name: string, region: string): Promise<Person> {
  const { parley, ...account } = await launchAccount(stage.network, name, region)
  const { userId } = parley
  await parley.close()
  return { ...account, userId }
}

export function open({ profile, passphrase }: Pick<Person, 'profile' | 'passphrase'>): Promise<Parley> {
  return Parley.open(profile, { passphrase })
}

/** What `me` holds of the conversation: `> ` said, `< ` heard. */
export function talkOf(me: Parley, other: UserId): string[] {
  return me
    .history(other)
    .map(
      ({ mine, body, kind }) => `${mine ? '>' : '<'} ${kind === 'text' ? Buffer.from(body).toString() : `(${kind})`}`,
    )
}

/** A scenario that waits in vain fails here, so that what it holds open is closed. */
export async function reach(from: Parley, to: UserId, text: string, stage: Reached): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = systemClock.after(STEP_MAX_MS, () => reject(new Error(`not ${stage} in ${STEP_MAX_MS} ms: ${text}`)))
  try {
    await Promise.race([(await from.send(to, text)).until(stage), late])
  } finally {
    timer.cancel()
  }
}

/** Resolves when the other side, which is connected, has it. */
export async function say(from: Parley, to: UserId, text: string): Promise<void> {
  from.connect()
  await reach(from, to, text, 'delivered')
}
