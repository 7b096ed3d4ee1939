// Two people who know nothing but each other's id find each other and talk; each message's way is told as it happens.
import type { DeviceEvent, Message } from '#client'
import { type Clock, compareIds, ParleyError, type Position, positionText, systemClock } from '#protocol'
import type { Testnet } from './launch.ts'
import { DEMO_STEP_MAX_MS } from './limits.ts'
import { launchAccount, type TestAccount } from './people.ts'

const TALK: readonly (readonly [from: 0 | 1, text: string])[] = [
  [0, 'Hello Ben. I had nothing but your id.'],
  [1, 'Hello Ana. My relay asked the network where you live, and yours where I do.'],
  [0, 'Can they read this?'],
  [1, 'No. They put it in order and keep it until we have it.'],
  [1, 'And if one of them is away for a while, the other holds it.'],
  [0, 'Good to know. 再见!'],
]

type Say = (line: string) => void
type Step = 'held' | 'numbered' | 'received' | 'delivered' | 'read'
/** What has to happen to each message; `held` only if it comes to that. */
const NEEDED: readonly Step[] = ['numbered', 'received', 'delivered', 'read']

const textOf = (message: Message): string => Buffer.from(message.body).toString('utf8')

function milliseconds(clock: Clock, since: number): string {
  return `${(clock.monotonic() - since).toFixed(1).padStart(8)} ms`
}

/** Sends one message and resolves when it has gone all its way. */
async function follow(from: TestAccount, to: TestAccount, text: string, host: string, say: Say): Promise<void> {
  const clock = systemClock
  const conv = from.parley.conversationWith(to.parley.userId)
  const seen = new Set<Step>()
  const since = clock.monotonic()
  let k: number | undefined
  let at: Position | undefined
  const tell = (step: Step, detail: string): void => {
    if (seen.has(step)) return
    seen.add(step)
    say(`  ${milliseconds(clock, since)}  ${step.padEnd(9)} ${detail}`)
  }
  const atSender = (event: DeviceEvent | { type: string }): void => {
    if (!('conv' in event) || event.conv !== conv) return
    if (event.type === 'state' && event.k === k) {
      if (event.state === 'held') tell('held', `at ${from.name}'s home, ${from.region}`)
      else if (event.state === 'sequenced') {
        at = event.at
        tell('numbered', `${positionText(event.at)} by the host, ${host}`)
      }
    } else if (event.type === 'delivered' && at !== undefined && event.upTo >= at)
      tell('delivered', `says ${to.region}`)
    else if (event.type === 'read' && at !== undefined && event.upTo >= at) tell('read', `says ${to.name}`)
  }
  const atReader = ({ message }: { message: Message }): void => {
    if (message.conv !== conv || message.mine || message.k !== k) return
    at ??= message.at
    tell('received', `and decrypted by ${to.name}: "${textOf(message)}"`)
    to.parley
      .markRead(from.parley.userId, message.at)
      .catch((error: Error) => say(`  not marked as read: ${error.message}`))
  }
  from.parley.on('event', atSender)
  to.parley.on('message', atReader)
  try {
    say(`\n${from.name} to ${to.name}: "${text}"`)
    k = (await from.parley.send(to.parley.userId, text)).k
    await Promise.all([
      from.parley.until(() => NEEDED.every((step) => step === 'received' || seen.has(step)), DEMO_STEP_MAX_MS),
      to.parley.until(() => seen.has('received'), DEMO_STEP_MAX_MS),
    ])
  } finally {
    from.parley.off('event', atSender)
    to.parley.off('message', atReader)
  }
}

/** By id alone: the own home asks the DHT for the home record, and that home for the manifest. */
async function find(from: TestAccount, to: TestAccount, say: Say): Promise<void> {
  const since = systemClock.monotonic()
  await from.parley.addContact(to.parley.userId, to.name)
  await from.parley.lookUp(to.parley.userId, DEMO_STEP_MAX_MS)
  say(`  ${milliseconds(systemClock, since)}  ${from.name} found ${to.name} through the DHT: home ${to.region}`)
}

/** What one of the two ended up with: the whole history, and what came in while it ran. */
export type Kept = {
  readonly history: readonly (readonly [from: 0 | 1, text: string])[]
  readonly received: readonly string[]
}

/** Every message once, in order, decrypted, the same for both: says what is not so. */
export function talkFaults(kept: readonly [Kept, Kept], talk: typeof TALK = TALK): string[] {
  return kept.flatMap(({ history, received }, i) => {
    const faults: string[] = []
    if (JSON.stringify(history) !== JSON.stringify(talk)) faults.push(`history ${i} is ${JSON.stringify(history)}`)
    const wanted = JSON.stringify(talk.filter(([from]) => from !== i).map(([, text]) => text))
    if (JSON.stringify(received) !== wanted) faults.push(`to ${i} came ${JSON.stringify(received)}, not ${wanted}`)
    return faults
  })
}

function keptBy(me: TestAccount, other: TestAccount, self: 0 | 1, received: readonly string[]): Kept {
  const peer = self === 0 ? 1 : 0
  const history = me.parley.history(other.parley.userId).map((it) => [it.mine ? self : peer, textOf(it)] as const)
  return { history, received }
}

/** Makes `ana` and `ben` in the first two regions and lets them talk. Throws unless all of it arrived as it should. */
export async function holdDemo(network: Testnet, say: Say): Promise<readonly TestAccount[]> {
  const [first, second] = network.regions
  if (!first || !second) throw new ParleyError('bad_argument', 'the demo needs two regions')
  const [ana, ben] = await Promise.all([
    launchAccount(network, 'ana', first.name),
    launchAccount(network, 'ben', second.name),
  ])
  await using _ana = ana.parley
  await using _ben = ben.parley
  const people = [ana, ben] as const
  const received: readonly [string[], string[]] = [[], []]
  for (const [i, { parley }] of people.entries()) {
    parley.on('message', ({ message }) => void (message.mine || received[i]?.push(textOf(message))))
  }
  await Promise.all(people.map(({ parley }) => parley.connected(DEMO_STEP_MAX_MS)))
  say('')
  for (const { name, region, parley } of people) say(`${name} lives in ${region}: ${parley.userId}`)
  await find(ana, ben, say)
  await find(ben, ana, say)
  const host = compareIds(ana.parley.userId, ben.parley.userId) < 0 ? ana.region : ben.region
  for (const [i, text] of TALK) await follow(people[i], people[i === 0 ? 1 : 0], text, host, say)
  const faults = talkFaults([keptBy(ana, ben, 0, received[0]), keptBy(ben, ana, 1, received[1])])
  if (faults.length > 0) throw new Error(`not every message arrived once, in order: ${faults.join('; ')}`)
  say(`\n${TALK.length} messages: each one once, in order, decrypted, and the same history on both sides.`)
  return people
}
