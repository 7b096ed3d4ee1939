// Batches with libsignal in them: a process that is killed anywhere within one, and ciphertext that cannot be read.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import {
  decode,
  directConvId,
  KIND_CONTENT,
  limits,
  nOf,
  type PrekeyBundle,
  PrekeyBundleSchema,
  type PrekeysBody,
  PrekeysBodySchema,
  positionOf,
  readHeader,
  type UserId,
  userIdOf,
} from '#protocol'
import { signalCipher } from './cipher.ts'
import { all } from './rules.ts'
import type { standInCipher } from './testing/stand-in-cipher.ts'
import { type Actor, bodyText, content, messagesOf, World } from './testing/world.ts'

const COUNT = 40
const LINES = Array.from({ length: COUNT }, (_, i) => `line ${i + 1}`)

type Cipher = typeof standInCipher

/** A home that keeps prekeys, and gives each one-time key away once. */
function keepPrekeys({ home }: World): void {
  const kept = new Map<UserId, PrekeysBody>()
  const scripted = home.directory()
  const bundle = async (user: UserId): Promise<PrekeyBundle> => {
    const { userId, device, registrationEpoch, registrationVersion, signed, oneTime, oneTimeKyber } = kept.get(user)!
    const key = oneTime.pop()!
    const kyber = oneTimeKyber.pop()!
    home.bundles++
    const named = { userId, device, registrationEpoch, registrationVersion, oneTime: key, kyber }
    return create(PrekeyBundleSchema, { ...named, ...(signed && { signed }) })
  }
  home.directory = () => ({
    ...scripted,
    bundle,
    prekeyCounts: async () => ({ oneTime: 0, oneTimeKyber: 0 }),
    uploadPrekeys: async ({ payload }) => {
      const body = decode(PrekeysBodySchema, payload, limits.PREKEYS_MAX_BYTES, limits.FRAME_ITEMS_MAX)
      kept.set(userIdOf(body.userId), body)
    },
  })
}

/** Two people who have written to each other; `killed` dies at each operation of its database that `isLast` says. */
async function acquainted(killed: 'ana' | 'ben' | undefined, isLast: () => boolean) {
  const world = new World(1)
  keepPrekeys(world)
  const cipher: Cipher = (db, { userId }, random) =>
    signalCipher(db, world.home.people.get(userId)!.account.device, world.clock, random)
  let armed = false
  const hook = (name: 'ana' | 'ben') =>
    name === killed
      ? () => {
          if (armed && isLast()) throw new Error('crash')
        }
      : undefined
  const ana = await world.add(hook('ana'), cipher)
  const ben = await world.add(hook('ben'), cipher)
  world.connect(ana)
  world.connect(ben)
  await world.run()
  await ana.device.send(ben.id, content('hello'), undefined)
  await world.run()
  await ben.device.send(ana.id, content('hello to you'), undefined)
  await world.run()
  armed = true
  return { world, ana, ben, cipher, conv: directConvId(ana.id, ben.id) }
}

/** What ben's database shows of ana, in the order of the log. */
function shown(ben: Actor, conv: ReturnType<typeof directConvId>): string[] {
  return all(ben.db, 'messages', conv)
    .filter(
      ({ kind, status, author }) => kind === 'text' && status === 'sequenced' && author === authorOfLines(ben, conv),
    )
    .sort((a, b) => a.at - b.at)
    .map(bodyText)
}

const authorOfLines = (ben: Actor, conv: ReturnType<typeof directConvId>): string =>
  all(ben.db, 'messages', conv).find((row) => bodyText(row) === 'hello')!.author

for (const killed of ['ana', 'ben'] as const) {
  test(`${killed} is killed at an operation of a batch: everything is said once and read once, in order`, async () => {
    let crashes = 0
    for (const at of [2, 30, 75, 110, 400]) {
      let left = at
      const { world, ana, ben, conv } = await acquainted(killed, () => --left === 0)
      if (killed === 'ben') world.disconnect(ben)
      const pending = LINES.map((line) => ana.device.send(ben.id, content(line), undefined).catch(() => undefined))
      await world.run()
      const accepted = (await Promise.all(pending)).filter((sent) => sent !== undefined).length
      if (killed === 'ben') {
        world.connect(ben)
        await world.run()
      }
      crashes += ana.crashes + ben.crashes
      const lines = shown(ben, conv).slice(1)
      assert.deepEqual(lines, LINES.slice(0, lines.length), `at ${at}`)
      assert.ok(lines.length >= accepted, `at ${at}: ${lines.length} of ${accepted}`)
      assert.equal(all(ben.db, 'unread').length, 0, `at ${at}`)
      const ks = world.home.logs.get(conv)!.entries.map((entry) => readHeader(entry).kind)
      assert.ok(ks.every((kind) => kind === KIND_CONTENT))
      assert.equal(world.home.bundles, 1, `at ${at}: the sessions go on`)
      assert.equal(all(ana.db, 'outbox').length + all(ana.db, 'sealed').length, 0, `at ${at}`)
    }
    assert.ok(crashes >= 4, `only ${crashes} crashes`)
  })
}

test('ciphertext that cannot be read, in the middle of a batch: the others are read, the cursor passes it, and it comes again', async () => {
  const { world, ana, ben, conv } = await acquainted(undefined, () => false)
  const { entries } = world.home.logs.get(conv)!
  world.disconnect(ben)
  for (const line of LINES) void ana.device.send(ben.id, content(line), undefined)
  await world.run()
  const first = entries.length - COUNT
  const spoilt = entries[first + 20]!.slice()
  spoilt[spoilt.length - 40]! ^= 1
  entries[first + 20] = spoilt
  const rows: string[] = []
  const commit = ben.db.transaction
  ben.db.transaction = (change) => {
    const result = commit(change)
    rows.push(`${nOf(all(ben.db, 'conversations')[0]!.cursor)} ${all(ben.db, 'unread').length}`)
    return result
  }
  world.connect(ben)
  await world.run()
  const seen = messagesOf(ben)
    .slice(1)
    .map((message) => (message.kind === 'text' ? bodyText(message) : message.kind))
  const expected = LINES.map((line, i) => (i === 20 ? 'unreadable' : line))
  assert.deepEqual(seen, [...expected, LINES[20]], 'in order, a placeholder, and the line at last')
  assert.deepEqual(shown(ben, conv).slice(1), LINES, 'where it stood')
  assert.ok(rows.includes(`${first + COUNT} 1`), 'the cursor had passed it while it was kept as it came')
  assert.equal(all(ben.db, 'unread').length, 0)
  assert.equal(all(ben.db, 'conversations')[0]!.cursor, positionOf(1, entries.length))
})
