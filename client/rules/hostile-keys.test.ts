// With libsignal: manifests whose identity keys are no keys, and a home that does not take prekeys.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, toBinary } from '@bufbuild/protobuf'
import { describeDevice, type PrekeyCounts, succeedManifest } from '#crypto'
import {
  type Device,
  decode,
  directConvId,
  limits,
  ParleyError,
  PrekeyBundleSchema,
  type PrekeysBody,
  PrekeysBodySchema,
  SignedPrekeysSchema,
  type UserId,
  userIdOf,
} from '#protocol'
import { signalCipher } from '../cipher.ts'
import { GONE_DEVICES_MAX } from '../limits.ts'
import { all } from '../rules.ts'
import type { standInCipher } from '../testing/stand-in-cipher.ts'
import { type Actor, bodyText, content, messagesOf, World } from '../testing/world.ts'

const HOUR_MS = 3_600_000
const NONE = { oneTime: 0, oneTimeKyber: 0 }
const FULL = { oneTime: 100, oneTimeKyber: 100 }
const JUNK = new Uint8Array(33).fill(0xee)

const texts = (actor: Actor): string[] => messagesOf(actor).map(bodyText)
const failures = (actor: Actor, conv: string): string[] =>
  actor.events.flatMap((event) =>
    event.type === 'state' && event.state === 'failed' && event.conv === conv ? [event.code] : [],
  )

/** A home that keeps prekeys as long as `takes` says so. */
function worldWithPrekeys(takes: () => boolean, counts: (shelves: number) => PrekeyCounts) {
  const world = new World(1)
  const shelves = new Map<UserId, PrekeysBody>()
  const uploads: string[] = []
  const scripted = world.home.directory()
  world.home.directory = () => ({
    ...scripted,
    bundle: async (user) => {
      const { userId, device, registrationEpoch, registrationVersion, signed, oneTime, oneTimeKyber } =
        shelves.get(user)!
      const keys = { signed: signed!, oneTime: oneTime.pop()!, kyber: oneTimeKyber.pop()! }
      return create(PrekeyBundleSchema, { userId, device, registrationEpoch, registrationVersion, ...keys })
    },
    prekeyCounts: async () => counts(shelves.size),
    uploadPrekeys: async (prekeys) => {
      uploads.push(Buffer.from(toBinary(SignedPrekeysSchema, prekeys)).toString('base64'))
      if (!takes()) throw new ParleyError('full_disk', 'no room for prekeys')
      const body = decode(PrekeysBodySchema, prekeys.payload, limits.PREKEYS_MAX_BYTES, limits.FRAME_ITEMS_MAX)
      shelves.set(userIdOf(body.userId), body)
    },
  })
  const cipher: typeof standInCipher = (db, { userId }, random) =>
    signalCipher(db, world.home.people.get(userId)!.account.device, world.clock, random)
  return { world, uploads, cipher }
}

/** The next manifest of somebody, with these devices. */
async function rename({ world }: { world: World }, actor: Actor, devicesOf: (own: Device) => Device[]): Promise<void> {
  const { account, manifest } = world.home.people.get(actor.id)!
  const devices = devicesOf(describeDevice(account.device))
  const next = succeedManifest(account.account, manifest, { devices, home: undefined })
  await actor.device.learn(world.home.admit({ ...account, ...next }).manifest)
}

async function people(...names: readonly string[]) {
  const { world, cipher } = worldWithPrekeys(
    () => true,
    () => NONE,
  )
  const actors: Actor[] = []
  for (const _ of names) actors.push(await world.add(undefined, cipher))
  const connect = async (): Promise<void> => {
    for (const actor of actors) {
      world.connect(actor)
      await world.run()
    }
  }
  return { world, cipher, actors, connect }
}

test('a device whose identity key is no key is passed over: the others are written to, also after a restart', async () => {
  const { world, cipher, actors, connect } = await people('ana', 'ben')
  const [ana, ben] = actors as [Actor, Actor]
  await rename({ world }, ben, (own) => [{ ...own, number: 2, registrationVersion: 2, signalIdentityKey: JUNK }, own])
  await connect()
  void ana.device.send(ben.id, content('hello'), undefined)
  await world.run()
  void ben.device.send(ana.id, content('hello to you'), undefined)
  await world.run()
  world.restart(ana, cipher)
  await world.run()
  void ana.device.send(ben.id, content('still here'), undefined)
  await world.run()
  assert.deepEqual(texts(ben), ['hello', 'still here'])
  assert.deepEqual(texts(ana), ['hello to you'])
  assert.deepEqual(failures(ana, directConvId(ana.id, ben.id)), [])
})

test('a stranger without any device that can be written to: asking them again fails, everything else goes on', async () => {
  const { world, actors, connect } = await people('ana', 'ben', 'eve')
  const [ana, ben, eve] = actors as [Actor, Actor, Actor]
  await rename({ world }, eve, (own) => [{ ...own, signalIdentityKey: JUNK }])
  await connect()
  void eve.device.send(ana.id, content('read this'), undefined)
  await world.run()
  const conv = directConvId(ana.id, eve.id)
  assert.deepEqual(
    messagesOf(ana).map(({ kind }) => kind),
    ['unreadable'],
  )
  const asked = all(ana.db, 'messages', conv).filter(({ kind }) => kind === 'retry')
  assert.deepEqual(
    asked.map(({ status, code }) => `${status} ${code}`),
    ['failed malformed'],
  )
  void ana.device.send(eve.id, content('what?'), undefined)
  void ana.device.send(ben.id, content('hello'), undefined)
  await world.run()
  assert.deepEqual(failures(ana, conv), ['malformed'])
  assert.deepEqual(texts(ben), ['hello'])
  assert.equal(ana.crashes, 0)
})

test('whoever replaces devices again and again leaves a few of them behind, and the session of one that stays', async () => {
  const { world, actors, connect } = await people('ana', 'eve')
  const [ana, eve] = actors as [Actor, Actor]
  await connect()
  void ana.device.send(eve.id, content('hello'), undefined)
  await world.run()
  const sessions = (): number => all(ana.db, 'keys').filter(({ kind }) => kind === 'session').length
  const learn = async (devicesOf: (own: Device, version: number) => Device[]): Promise<void> => {
    const { account, manifest: last } = world.home.people.get(eve.id)!
    const devices = devicesOf(describeDevice(account.device), last.version + 1)
    const next = succeedManifest(account.account, last, { devices, home: undefined })
    await ana.device.learn(world.home.admit({ ...account, ...next }).manifest)
  }
  const others = (own: Device, version: number): Device[] =>
    Array.from({ length: limits.DEVICES_MAX - 1 }, (_, i) => {
      const signalIdentityKey = Uint8Array.from([5, ...world.random.bytes(32)])
      return { ...own, number: i + 2, registrationVersion: version, signalIdentityKey }
    })
  for (let i = 0; i < 10; i++)
    await learn((own, version) => [{ ...own, registrationVersion: version }, ...others(own, version)])
  assert.equal(all(ana.db, 'devices', eve.id).length, GONE_DEVICES_MAX + limits.DEVICES_MAX)
  assert.equal(all(ana.db, 'devices', eve.id).filter(({ gone }) => gone).length, GONE_DEVICES_MAX)
  assert.equal(sessions(), 1, 'registered again with its key')
  for (let i = 0; i < 10; i++) await learn(others)
  assert.equal(all(ana.db, 'devices', eve.id).filter(({ gone }) => gone).length, GONE_DEVICES_MAX)
  assert.equal(sessions(), 0)
})

test('prekeys that the home refuses are kept and sent again, ever more rarely, also after a restart', async () => {
  let takes = false
  const { world, uploads, cipher } = worldWithPrekeys(
    () => takes,
    (shelves) => (shelves > 0 ? FULL : NONE),
  )
  const ana = await world.add(undefined, cipher)
  const until = async (ms: number): Promise<void> => {
    do await new Promise(setImmediate)
    while (uploads.length < 50 && world.clock.step(ms))
  }
  const privateHalves = (): number => all(ana.db, 'keys').filter(({ kind }) => kind === 'prekey').length
  const start = world.clock.now()
  world.connect(ana)
  await until(start + 2 * HOUR_MS)
  assert.ok(uploads.length >= 15 && uploads.length <= 25, `${uploads.length} in two hours`)
  assert.equal(privateHalves(), 100)
  world.restart(ana, cipher)
  await until(start + 4 * HOUR_MS)
  assert.equal(privateHalves(), 100)
  assert.equal(new Set(uploads).size, 1, 'the same bytes each time')
  takes = true
  const before = uploads.length
  await until(start + 5 * HOUR_MS)
  assert.equal(uploads.length, before + 1)
  assert.equal(new Set(uploads).size, 1)
  assert.ok(ana.events.some(({ type }) => type === 'prekeys-stocked'))
  assert.equal(all(ana.db, 'keys').filter(({ kind }) => kind === 'upload').length, 0)
})
