import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Device, type Manifest, openHomeRecord, ParleyError, SimulatedClock, type UserId } from '#protocol'
import { makeDevice, makePerson, makeRegion, makeStore } from '../fixtures.ts'
import { COUNTERSIGNED_FOR_MS } from '../limits.ts'
import { type Change, createAccounts, type Policy, type Restored } from './accounts.ts'
import { accountRows } from './rows.ts'

const code = (expected: string) => (error: unknown) => (error as ParleyError).code === expected
const DAY_MS = 86_400_000

async function start(
  options: {
    disk?: ReturnType<typeof makeStore>
    region?: ReturnType<typeof makeRegion>
    now?: number
    policy?: Policy
    restored?: Restored
  } = {},
) {
  const { disk = makeStore(), region = makeRegion(), now = Date.now(), policy = () => undefined } = options
  const clock = new SimulatedClock(now)
  const store = await disk.open()
  const changes: Change[] = []
  const parts = {
    rows: accountRows(store),
    clock,
    keys: region,
    policy,
    restored: options.restored,
    onChange: (_: unknown, what: Change) => changes.push(what),
  }
  return { disk, region, store, clock, accounts: createAccounts(parts), changes }
}

describe('accounts', () => {
  it('of before the store went back are none, until their owner comes home to a later generation', async () => {
    const before = await start()
    const [person, absent] = [makePerson(before.region.regionId), makePerson(before.region.regionId)]
    for (const { first } of [person, absent]) await before.accounts.register(first.manifest, first.head, '')
    const returned: UserId[] = []
    const onReturn = async ({ userId }: Manifest): Promise<void> => void returned.push(userId)
    const where = { disk: before.disk, region: before.region, restored: { life: 2, onReturn } }
    const { accounts } = await start(where)
    const { userId } = person
    assert.equal(await accounts.find(userId), undefined)
    assert.equal(accounts.known(userId), undefined)
    assert.equal(accounts.knownStored(userId)?.manifest.version, 1)
    const { manifest, head, opened } = person.first
    await assert.rejects(accounts.register(manifest, head, ''), { code: 'home_restored' })
    const newer = person.sign({ version: 2, previousHash: opened.hash })
    await assert.rejects(accounts.replaceManifest(newer.manifest, newer.head), { code: 'home_restored' })
    const forged = person.sign({ version: 2, previousHash: new Uint8Array(32), generation: 2 })
    await assert.rejects(accounts.register(forged.manifest, forged.head, ''), { code: 'conflict' })
    assert.deepEqual(returned, [], 'nothing is thrown away for who is not taken')
    const home = person.sign({ version: 2, previousHash: opened.hash, generation: 2 })
    await accounts.register(home.manifest, home.head, '', { region: before.region.regionId, gone: true })
    assert.deepEqual(returned, [userId], 'before anybody can ask for what may have been given')
    assert.equal((await accounts.find(userId))?.manifest.homeGeneration, 2)
    assert.equal((await accounts.renew(absent.userId))?.manifest.version, 1, 'who is not there yet is not forgotten')
    assert.equal(await accounts.find(absent.userId), undefined)
    const again = await start(where)
    assert.equal((await again.accounts.find(userId))?.manifest.version, 2)
    const later = await start({ ...where, disk: makeStore() })
    await using _later = later.store
    const newcomer = makePerson(before.region.regionId)
    await later.accounts.register(newcomer.first.manifest, newcomer.first.head, '')
    assert.ok(await later.accounts.find(newcomer.userId), 'who is new has nowhere to come home from')
  })

  it('registers, countersigns for a limited time, and answers the same again', async () => {
    const { region, accounts, clock, store, changes } = await start()
    await using _store = store
    const person = makePerson(region.regionId)
    const { home } = await accounts.register(person.first.manifest, person.first.head, '')
    assert.equal(openHomeRecord(home.record, clock.now()).homeRegion, region.regionId)
    assert.equal(home.notAfterMs, clock.now() + COUNTERSIGNED_FOR_MS)
    const again = await accounts.register(person.first.manifest, person.first.head, '')
    assert.deepEqual(again.home.record, home.record)
    assert.deepEqual(changes, ['registered', 'same'])
  })

  it('takes a successor and refuses what rolls back, after a restart too', async () => {
    const first = await start()
    const person = makePerson(first.region.regionId)
    await first.accounts.register(person.first.manifest, person.first.head, '')
    const second = person.sign({
      version: 2,
      previousHash: person.first.opened.hash,
      devices: [person.device.entry, makeDevice(2, { rootEpoch: 1, version: 2 }).entry],
    })
    await first.accounts.replaceManifest(second.manifest, second.head)
    const recovered = person.sign({
      rootEpoch: 2,
      version: 1,
      devices: [makeDevice(1, { rootEpoch: 2, version: 1 }).entry],
    })
    await first.accounts.register(recovered.manifest, recovered.head, '')
    first.store.abandon()
    const { accounts, store } = await start({ disk: first.disk, region: first.region })
    await using _store = store
    const third = person.sign({ version: 3, previousHash: second.opened.hash })
    await assert.rejects(
      accounts.replaceManifest(third.manifest, third.head),
      code('too_old'),
      'signed by a replaced key',
    )
    const posing = person.sign({ rootEpoch: 2, grantEpoch: 1, version: 2, previousHash: recovered.opened.hash })
    await assert.rejects(accounts.replaceManifest(posing.manifest, posing.head), code('not_granted'))
    await assert.rejects(accounts.register(person.first.manifest, person.first.head, ''), code('too_old'))
    const other = person.sign({
      rootEpoch: 2,
      version: 1,
      devices: [makeDevice(3, { rootEpoch: 2, version: 1 }).entry],
    })
    await assert.rejects(accounts.replaceManifest(other.manifest, other.head), code('conflict'))
    assert.equal((await accounts.find(person.userId))?.manifest.rootEpoch, 2)
  })

  it('refuses a successor that does not follow, changes a device or slips an old one in', async () => {
    const { region, accounts, store } = await start()
    await using _store = store
    const person = makePerson(region.regionId)
    await accounts.register(person.first.manifest, person.first.head, '')
    const previousHash = person.first.opened.hash
    const cases = {
      conflict: [
        person.sign({ version: 2, previousHash: new Uint8Array(32) }),
        person.sign({ version: 2, previousHash, devices: [makeDevice(1, { rootEpoch: 1, version: 1 }).entry] }),
      ],
      unsigned_device: [
        person.sign({
          version: 2,
          previousHash,
          devices: [person.device.entry, makeDevice(2, { rootEpoch: 1, version: 1 }).entry],
        }),
      ],
      not_home: [person.sign({ version: 2, previousHash, home: makeRegion().regionId })],
    }
    for (const [expected, all] of Object.entries(cases)) {
      for (const { manifest, head } of all)
        await assert.rejects(accounts.replaceManifest(manifest, head), code(expected))
    }
    const moved = person.sign({ version: 2, previousHash, generation: 2 })
    await assert.rejects(accounts.replaceManifest(moved.manifest, person.first.head), code('conflict'), 'another head')
    await accounts.replaceManifest(moved.manifest, moved.head)
    const back = person.sign({ version: 3, previousHash: moved.opened.hash, generation: 1 })
    await assert.rejects(
      accounts.replaceManifest(back.manifest, back.head),
      code('too_old'),
      'home generation went back',
    )
  })

  it('refuses one that says its devices are older than they are', async () => {
    const { region, accounts, store } = await start()
    await using _store = store
    const person = makePerson(region.regionId)
    const first = person.device.entry
    await accounts.register(person.first.manifest, person.first.head, '')
    let previousHash = person.first.opened.hash
    const next = async (version: number, devicesSince: number, devices: Device[]): Promise<void> => {
      const signed = person.sign({ version, previousHash, devices, devicesSince })
      await accounts.replaceManifest(signed.manifest, signed.head)
      previousHash = signed.opened.hash
    }
    const second = makeDevice(2, { rootEpoch: 1, version: 2 }).entry
    await assert.rejects(next(2, 1, [first, second]), code('malformed'), 'one is new')
    await next(2, 2, [first, second])
    await assert.rejects(next(3, 2, [first]), code('conflict'), 'one is gone')
    await next(3, 3, [first])
    await assert.rejects(next(4, 1, [first]), code('conflict'), 'one was there in between')
    await next(4, 3, [first])
    assert.equal(accounts.known(person.userId)?.manifest.devicesSince, 3)
  })

  it('of two concurrent successors takes one', async () => {
    const { region, accounts, store } = await start()
    await using _store = store
    const person = makePerson(region.regionId)
    await accounts.register(person.first.manifest, person.first.head, '')
    const previousHash = person.first.opened.hash
    const devices = () => [person.device.entry, makeDevice(2, { rootEpoch: 1, version: 2 }).entry]
    const both = [1, 2].map(() => person.sign({ version: 2, previousHash, devices: devices() }))
    const results = await Promise.allSettled(both.map((one) => accounts.replaceManifest(one.manifest, one.head)))
    assert.deepEqual(results.map((result) => result.status).toSorted(), ['fulfilled', 'rejected'])
  })

  it('knows an account from memory once somebody has asked for it', async () => {
    const first = await start()
    const person = makePerson(first.region.regionId)
    await first.accounts.register(person.first.manifest, person.first.head, '')
    first.store.abandon()
    const { accounts, store } = await start({ disk: first.disk, region: first.region })
    await using _store = store
    assert.equal(accounts.known(person.userId), undefined, 'a start reads nobody')
    await accounts.find(person.userId)
    assert.equal(accounts.known(person.userId)?.manifest.userId, person.userId)
  })

  it('keeps where somebody lived before, until their account is replaced and renewed too', async () => {
    const first = await start()
    const person = makePerson(first.region.regionId)
    const former = { region: makeRegion().regionId, gone: true, generation: 0 }
    await first.accounts.register(person.first.manifest, person.first.head, '', former)
    const second = person.sign({ version: 2, previousHash: person.first.opened.hash, devices: [person.device.entry] })
    assert.deepEqual((await first.accounts.replaceManifest(second.manifest, second.head)).former, former)
    assert.deepEqual((await first.accounts.renew(person.userId))?.former, former)
    first.store.abandon()
    const { accounts, store } = await start({ disk: first.disk, region: first.region })
    await using _store = store
    assert.deepEqual((await accounts.find(person.userId))?.former, former)
    const toBeTold = await store.range('m', { from: 'u', to: 'v', limit: 9, reverse: false })
    assert.deepEqual(
      toBeTold.map(([key]) => key),
      [`u${former.region} ${person.userId}`],
      'that it has to hear of it is as durable as the account',
    )
  })

  it('gives an account up for a newer home record only, in memory or not', async () => {
    const first = await start()
    const { region, disk } = first
    const person = makePerson(region.regionId)
    const former = { region: makeRegion().regionId, gone: false, generation: 0 }
    const { home } = await first.accounts.register(person.first.manifest, person.first.head, '', former)
    const older = { ...home, version: 0 }
    const newer = { ...home, version: 2, homeGeneration: 2, homeRegion: makeRegion().regionId }
    first.accounts.leave(older)
    assert.ok(first.accounts.known(person.userId))
    first.store.abandon()
    const second = await start({ disk, region })
    second.accounts.leave(older)
    assert.ok(await second.accounts.find(person.userId))
    second.store.abandon()
    const third = await start({ disk, region })
    await using _store = third.store
    third.accounts.leave(newer)
    // What is asked in the person's turn comes after it.
    await third.accounts.renew(person.userId)
    await new Promise(setImmediate)
    assert.equal(await third.accounts.find(person.userId), undefined)
    assert.deepEqual(await third.accounts.findFormer(person.userId), former, 'the next home asks for it')
  })

  it('asks the policy for new accounts only', async () => {
    let open = true
    const policy: Policy = () => (open ? undefined : new ParleyError('not_admitted', 'closed'))
    const { region, accounts, store } = await start({ policy })
    await using _store = store
    const [here, late] = [makePerson(region.regionId), makePerson(region.regionId)]
    await accounts.register(here.first.manifest, here.first.head, '')
    open = false
    await assert.rejects(accounts.register(late.first.manifest, late.first.head, ''), code('not_admitted'))
    await assert.rejects(accounts.replaceManifest(late.first.manifest, late.first.head), code('unknown_user'))
    await accounts.register(here.first.manifest, here.first.head, '')
  })

  it('countersigns anew, by request or when its own word has expired while it was down', async () => {
    const first = await start()
    const person = makePerson(first.region.regionId)
    const { home } = await first.accounts.register(person.first.manifest, person.first.head, '')
    first.store.abandon()
    const late = first.clock.now() + COUNTERSIGNED_FOR_MS + DAY_MS
    const { accounts, store, clock } = await start({ disk: first.disk, region: first.region, now: late })
    await using _store = store
    assert.equal((await accounts.find(person.userId))?.home.notAfterMs, late + COUNTERSIGNED_FOR_MS)
    clock.advanceTo(late + DAY_MS)
    const renewed = await accounts.renew(person.userId)
    assert.equal(renewed?.home.notAfterMs, late + DAY_MS + COUNTERSIGNED_FOR_MS)
    assert.deepEqual(renewed?.home.record.head, home.record.head)
  })

  it('lets session counters only rise, concurrently and across restarts', async () => {
    const first = await start()
    const person = makePerson(first.region.regionId)
    const raise = (accounts: typeof first.accounts, counter: bigint) =>
      accounts.raiseSessionCounter(person.userId, person.device, counter)
    const both = await Promise.allSettled([raise(first.accounts, 5n), raise(first.accounts, 5n)])
    assert.deepEqual(
      both.map((result) => result.status),
      ['fulfilled', 'rejected'],
    )
    first.store.abandon()
    const { accounts, store } = await start({ disk: first.disk, region: first.region })
    await using _store = store
    await assert.rejects(raise(accounts, 5n), code('old_profile'))
    await raise(accounts, 2n ** 63n)
  })
})
