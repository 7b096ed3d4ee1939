// Fills the store of a relay that is not running: stocker.ts DATA ACCOUNTS MESSAGES. How far it is goes to the standard error
// output. Where there is a channel to the process that started it, it ends with that.
import { create } from '@bufbuild/protobuf'
import { createAccount } from '#crypto'
import {
  compareIds,
  convIdBytes,
  type DeviceFrame,
  DeviceFrameSchema,
  decodeHomeFrame,
  directConvId,
  directGenesis,
  signingKey,
  systemClock,
  systemRandom,
  type UserId,
} from '#protocol'
import { openStocking } from '#relay'
import { TEXT_BYTES } from '../load/limits.ts'

const PER_CONVERSATION_LEAST = 1_000
const PER_FRAME = 50
const ACCOUNTS_A_TURN = 100
const PATIENCE_MS = 60_000
const PROGRESS_EVERY_MS = 10_000
const FIRST_DEVICE = { device: 1, registrationEpoch: 1, registrationVersion: 1 }

type Stocking = Awaited<ReturnType<typeof openStocking>>

function progressOf(what: string, total: number): (done: number) => void {
  let saidMs = systemClock.monotonic()
  return (done) => {
    if (systemClock.monotonic() - saidMs < PROGRESS_EVERY_MS) return
    saidMs = systemClock.monotonic()
    process.stderr.write(`${done.toLocaleString('en')} of ${total.toLocaleString('en')} ${what}\n`)
  }
}

async function addAccounts(stocking: Stocking, count: number): Promise<UserId[]> {
  const users: UserId[] = []
  const progress = progressOf('accounts', count)
  while (users.length < count) {
    for (let i = 0; i < ACCOUNTS_A_TURN && users.length < count; i++) {
      const home = { homeRegion: stocking.regionId, fallbackRegions: [] }
      const made = createAccount(signingKey(systemRandom.bytes(32)), home, systemRandom)
      stocking.addAccount(made.manifest, made.head)
      users.push(made.account.userId)
    }
    await stocking.settled()
    progress(users.length)
  }
  return users
}

const frameOf = (init: Partial<DeviceFrame>): DeviceFrame => create(DeviceFrameSchema, init as DeviceFrame)

/** One conversation with so many messages that nobody has read. */
async function converse({ relay, settled }: Stocking, author: UserId, reader: UserId, count: number): Promise<void> {
  let numbered = 0
  const id = `${author}`
  const member = compareIds(author, reader) < 0 ? 0 : 1
  relay.openSession({
    id,
    userId: author,
    device: FIRST_DEVICE,
    send(frame) {
      for (const { outcome } of decodeHomeFrame(frame).verdicts) if (outcome.case === 'sequenced') numbered++
    },
    backlog: () => 0,
    close(reason) {
      if (reason) throw reason
    },
  })
  const name = { ref: 1, convId: convIdBytes(directConvId(author, reader)), genesis: directGenesis(author, reader) }
  relay.deviceFrame(id, create(DeviceFrameSchema, { names: [name] }))
  // The conversation is founded once rows have said that it is not there yet.
  await settled()
  const body = systemRandom.bytes(TEXT_BYTES)
  for (let k = 1; k <= count; ) {
    const submissions: DeviceFrame['submissions'] = []
    for (; k <= count && submissions.length < PER_FRAME; k++) {
      const encryptedFor = [0, 1].map((m) => ({ member: m, rootEpoch: 1, version: 1 }))
      const parts = [{ member: 1 - member, device: 1, body }]
      const said = { conv: 1, k, tag: systemRandom.bytes(8), kind: 1, encryptedFor, parts }
      submissions.push(create(DeviceFrameSchema, { submissions: [said] }).submissions[0]!)
    }
    relay.deviceFrame(id, frameOf({ submissions }))
    await new Promise((resolve) => setImmediate(resolve))
  }
  // Nothing waits for a commit while rows are still being asked whether the conversation is there.
  const since = systemClock.monotonic()
  while (numbered < count && systemClock.monotonic() - since < PATIENCE_MS) {
    await settled()
    await new Promise((resolve) => setImmediate(resolve))
  }
  if (numbered !== count) throw new Error(`${numbered} of ${count} messages got a number`)
  relay.closeSession(id)
}

async function main(data: string, accounts: number, messages: number): Promise<void> {
  await using stocking = await openStocking(data, systemClock, systemRandom)
  const users = await addAccounts(stocking, Math.max(accounts, 2))
  const progress = progressOf('messages', messages)
  const pairs = Math.max(1, Math.min(users.length >> 1, Math.ceil(messages / PER_CONVERSATION_LEAST)))
  for (let i = 0; i < pairs; i++) {
    const [from, to] = [Math.floor((i * messages) / pairs), Math.floor(((i + 1) * messages) / pairs)]
    await converse(stocking, users[2 * i]!, users[2 * i + 1]!, to - from)
    progress(to)
    stocking.relay.tick()
  }
}

process.on('disconnect', () => process.exit(1))
// To listen is no reason to stay.
process.channel?.unref()
const [data, accounts, messages] = process.argv.slice(2)
if (!data || !accounts || !messages) throw new Error('stocker.ts DATA ACCOUNTS MESSAGES')
await main(data, Number(accounts), Number(messages))
