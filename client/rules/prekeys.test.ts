// With libsignal: prekeys that were made while the clock was wrong.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decode, limits, openPrekeys, PrekeysBodySchema } from '#protocol'
import { signalCipher } from '../cipher.ts'
import { all } from '../rules.ts'
import type { standInCipher } from '../testing/stand-in-cipher.ts'
import { World } from '../testing/world.ts'

const YEAR_MS = 365 * 86_400_000
const HOUR_MS = 3_600_000

test('an upload of a clock that was a year ahead is made anew when the clock is right', async () => {
  const world = new World(1)
  const scripted = world.home.directory()
  const times: number[] = []
  let aheadMs = YEAR_MS
  let isStocked = false
  const cipher: typeof standInCipher = (db, { userId }, random) => {
    const { device } = world.home.people.get(userId)!.account
    const now = (): number => world.clock.now() + aheadMs
    const clock = { now, monotonic: now, after: world.clock.after.bind(world.clock) }
    return signalCipher(db, device, clock, random)
  }
  world.home.directory = () => ({
    ...scripted,
    prekeyCounts: async () => (isStocked ? { oneTime: 100, oneTimeKyber: 100 } : { oneTime: 0, oneTimeKyber: 0 }),
    uploadPrekeys: async (prekeys) => {
      const body = decode(PrekeysBodySchema, prekeys.payload, limits.PREKEYS_MAX_BYTES, limits.FRAME_ITEMS_MAX)
      times.push(Number(body.timeMs))
      const { userId, devices } = world.home.people.get(ana.id)!.manifest
      openPrekeys(prekeys, { userId, device: devices[0]! }, world.clock.now())
      isStocked = true
    },
  })
  const ana = await world.add(undefined, cipher)
  const until = async (ms: number): Promise<void> => {
    do await new Promise(setImmediate)
    while (!isStocked && world.clock.step(ms))
  }
  world.connect(ana)
  await until(world.clock.now() + 1)
  assert.ok(times.length === 1 && times[0]! > world.clock.now() + YEAR_MS / 2)
  assert.equal(isStocked, false)
  assert.equal(all(ana.db, 'keys').filter(({ kind }) => kind === 'upload').length, 1)
  aheadMs = 0
  world.restart(ana, cipher)
  await until(world.clock.now() + HOUR_MS)
  for (let i = 0; i < 5; i++) await new Promise(setImmediate)
  assert.equal(isStocked, true)
  assert.equal(times.length, 2)
  assert.equal(all(ana.db, 'keys').filter(({ kind }) => kind === 'upload').length, 0)
})
