import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type ParleyError, type PrekeyBundle, type RegionId, SimulatedClock, type UserId } from '#protocol'
import { makePerson, makePrekeys, makeRegion, makeStore, type Person, type TestRegion } from '../fixtures.ts'
import { BUNDLE_PAIR_BUDGET, BUNDLE_SHARE_BUDGET, BUNDLE_TARGET_BUDGET } from '../limits.ts'
import { createAccounts } from './accounts.ts'
import { createPrekeys, type Prekeys } from './prekeys.ts'
import { accountRows } from './rows.ts'
import type { Counts } from './shelf.ts'

const code = (expected: string) => (error: unknown) => (error as ParleyError).code === expected
const NOW = Date.now()

async function start(disk = makeStore(), region: TestRegion = makeRegion(), clock = new SimulatedClock(NOW)) {
  const store = await disk.open()
  const rows = accountRows(store)
  const accounts = createAccounts({ rows, clock, keys: region, policy: () => undefined, onChange: () => undefined })
  const low: Counts[] = []
  const prekeys = createPrekeys({
    rows,
    accounts,
    clock,
    region: region.regionId,
    onLow: (_user, _device, counts) => low.push(counts),
    onGiven: () => undefined,
  })
  return { disk, region, store, accounts, prekeys, clock, low }
}

const somebody = (i: number, region: RegionId) => ({ user: `requester-${i}` as UserId, region })

/** All requesters of one region, or each of a region of its own, so that none uses up its region's share. */
function fetchMany(prekeys: Prekeys, person: Person, count: number, from = 0, region?: RegionId) {
  return Promise.all(
    Array.from({ length: count }, (_, i) =>
      prekeys.bundle(person.userId, 1, somebody(from + i, region ?? (`region-${from + i}` as RegionId))),
    ),
  )
}

/** Somebody with so many one-time keys. */
async function startWith(oneTime: number) {
  const relay = await start()
  const person = makePerson(relay.region.regionId)
  await relay.accounts.register(person.first.manifest, person.first.head, '')
  await relay.prekeys.stock(person.userId, person.device, makePrekeys(person, oneTime, 1, NOW))
  return { ...relay, person, home: relay.region.regionId, hostile: makeRegion().regionId }
}

const withOneTime = (bundle: PrekeyBundle) => bundle.oneTime !== undefined && !bundle.kyberIsLastResort

/** As when no one-time keys are left. */
function assertLastResort(bundle: PrekeyBundle): void {
  assert.ok(bundle.signed && bundle.kyber && bundle.kyberIsLastResort && !bundle.oneTime)
}

describe('prekeys', () => {
  it('gives 50 concurrent requests 50 different keys of each kind, then the last resort', async () => {
    const { region, accounts, prekeys, store, low } = await start()
    await using _store = store
    const person = makePerson(region.regionId)
    await accounts.register(person.first.manifest, person.first.head, '')
    assert.deepEqual(await prekeys.stock(person.userId, person.device, makePrekeys(person, 40, 1, NOW)), {
      oneTime: 40,
      oneTimeKyber: 40,
    })
    const bundles = await fetchMany(prekeys, person, 50)
    const oneTime = bundles.flatMap((bundle) => bundle.oneTime?.id ?? [])
    const kyber = bundles.flatMap((bundle) => (bundle.kyberIsLastResort ? [] : bundle.kyber!.id))
    assert.equal(new Set(oneTime).size, 40)
    assert.equal(new Set(kyber).size, 40)
    assert.equal(oneTime.length, 40)
    assert.equal(bundles.filter((bundle) => bundle.kyberIsLastResort).length, 10)
    assert.equal(low.length, 12, 'told when few are left, and at each bundle when none is')
  })

  it('throws one-time keys away that may have been given, and takes newer ones', async () => {
    const { region, accounts, prekeys, store } = await start()
    await using _store = store
    const person = makePerson(region.regionId)
    await accounts.register(person.first.manifest, person.first.head, '')
    await prekeys.stock(person.userId, person.device, makePrekeys(person, 5, 1, NOW))
    await prekeys.dropOneTime(person.userId, 1)
    const { oneTime, oneTimeKyber, low } = await prekeys.counts(person.userId, person.device)
    assert.deepEqual([oneTime, oneTimeKyber, low], [0, 0, true])
    const [bundle] = await fetchMany(prekeys, person, 1)
    assert.ok(bundle!.signed && bundle!.kyberIsLastResort && !bundle!.oneTime, 'those that are no one-time keys stay')
    await prekeys.stock(person.userId, person.device, makePrekeys(person, 2, 6, NOW + 1))
    const [next] = await fetchMany(prekeys, person, 1, 1)
    assert.equal(next!.oneTime?.id, 6)
  })

  it('never gives a key twice, whatever is stocked again, and across restarts', async () => {
    const step = fc.oneof(
      fc.record({ is: fc.constant('stock' as const), from: fc.integer({ min: 1, max: 30 }), count: fc.nat(8) }),
      fc.record({ is: fc.constant('fetch' as const), count: fc.integer({ min: 1, max: 6 }) }),
      fc.record({ is: fc.constant('restart' as const) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
        let relay = await start()
        const person = makePerson(relay.region.regionId)
        await relay.accounts.register(person.first.manifest, person.first.head, '')
        await relay.prekeys.stock(person.userId, person.device, makePrekeys(person, 3, 1, NOW - 1_000))
        const given = { oneTime: new Set<number>(), kyber: new Set<number>() }
        let time = 0
        for (const one of steps) {
          time++
          if (one.is === 'stock') {
            await relay.prekeys.stock(
              person.userId,
              person.device,
              makePrekeys(person, one.count, one.from, NOW + time),
            )
          } else if (one.is === 'restart') {
            relay.store.abandon()
            relay = await start(relay.disk, relay.region)
          } else {
            const { oneTime: left } = await relay.prekeys.counts(person.userId, person.device)
            const bundles = await fetchMany(relay.prekeys, person, one.count, time * 100)
            for (const bundle of bundles) {
              if (bundle.oneTime)
                assert.ok(!given.oneTime.has(bundle.oneTime.id) && given.oneTime.add(bundle.oneTime.id))
              if (bundle.kyberIsLastResort) continue
              assert.ok(!given.kyber.has(bundle.kyber!.id) && given.kyber.add(bundle.kyber!.id))
            }
            const lastResort = bundles.filter((bundle) => bundle.kyberIsLastResort).length
            assert.equal(lastResort, Math.max(0, one.count - left), 'the last resort only when none is left')
          }
        }
        relay.store.abandon()
      }),
      { numRuns: 25 },
    )
  })

  it('answers only when the deletion is committed', async () => {
    const { region, accounts, prekeys, store, disk } = await start()
    const person = makePerson(region.regionId)
    await accounts.register(person.first.manifest, person.first.head, '')
    await prekeys.stock(person.userId, person.device, makePrekeys(person, 5, 1, NOW))
    disk.disk.faults.nextAppend = 'silent'
    let answered = false
    const bundle = prekeys.bundle(person.userId, 1, somebody(1, region.regionId)).then(() => {
      answered = true
    })
    // The store gathers for a turn of the loop; ten of them are more than it takes when the disk answers.
    for (let i = 0; i < 10; i++) await new Promise(setImmediate)
    assert.equal(answered, false)
    store.abandon()
    void bundle.catch(() => undefined)
  })

  it('limits what one requester takes from one device, and says when to come again', async () => {
    const { region, accounts, prekeys, store, clock } = await start()
    await using _store = store
    const person = makePerson(region.regionId)
    await accounts.register(person.first.manifest, person.first.head, '')
    await prekeys.stock(person.userId, person.device, makePrekeys(person, 30, 1, NOW))
    const requester = somebody(1, region.regionId)
    for (let i = 0; i < BUNDLE_PAIR_BUDGET.burst; i++) await prekeys.bundle(person.userId, 1, requester)
    await assert.rejects(prekeys.bundle(person.userId, 1, requester), (error: ParleyError) => {
      assert.equal(error.code, 'overloaded')
      assert.equal(error.retryAfterMs, BUNDLE_PAIR_BUDGET.refillMs)
      return true
    })
    await prekeys.bundle(person.userId, 1, somebody(2, region.regionId))
    clock.advanceTo(clock.now() + BUNDLE_PAIR_BUDGET.refillMs)
    await prekeys.bundle(person.userId, 1, requester)
  })

  it('refuses what is older, of another device, or signed by another key', async () => {
    const { region, accounts, prekeys, store } = await start()
    await using _store = store
    const [person, other] = [makePerson(region.regionId), makePerson(region.regionId)]
    for (const one of [person, other]) await accounts.register(one.first.manifest, one.first.head, '')
    const stocked = makePrekeys(person, 3, 1, NOW)
    await prekeys.stock(person.userId, person.device, stocked)
    assert.deepEqual(await prekeys.stock(person.userId, person.device, stocked), { oneTime: 3, oneTimeKyber: 3 })
    await assert.rejects(prekeys.stock(person.userId, person.device, makePrekeys(person, 3, 9, NOW)), code('too_old'))
    await assert.rejects(
      prekeys.stock(other.userId, other.device, makePrekeys(person, 3, 9, NOW + 1)),
      code('bad_signature'),
    )
    const many = makePrekeys(person, 199, 9, NOW + 1)
    await assert.rejects(prekeys.stock(person.userId, person.device, many), code('too_many'))
    await assert.rejects(prekeys.bundle(other.userId, 1, somebody(1, region.regionId)), code('not_found'))
    await assert.rejects(prekeys.bundle(person.userId, 2, somebody(1, region.regionId)), code('unknown_device'))
  })
})

describe('prekeys that one region asks for with many invented requesters', () => {
  const { burst } = BUNDLE_SHARE_BUDGET

  it('leaves one-time keys for a neighbour', async () => {
    const { prekeys, store, low, person, home, hostile } = await startWith(100)
    await using _store = store
    const bundles = await fetchMany(prekeys, person, 260, 0, hostile)
    assert.equal(bundles.filter(withOneTime).length, burst)
    for (const bundle of bundles.slice(burst)) assertLastResort(bundle)
    assert.ok(withOneTime(await prekeys.bundle(person.userId, 1, somebody(1, home))))
    const { oneTime, oneTimeKyber } = await prekeys.counts(person.userId, person.device)
    assert.deepEqual([oneTime, oneTimeKyber, low.length], [99 - burst, 99 - burst, 0])
  })

  it('gives a neighbour the last-resort key when none is left', async () => {
    const { prekeys, store, person, home, hostile } = await startWith(burst - 4)
    await using _store = store
    await fetchMany(prekeys, person, 260, 0, hostile)
    assertLastResort(await prekeys.bundle(person.userId, 1, somebody(1, home)))
  })

  it('gives a region beyond its share a one-time key now and then, the neighbours too', async () => {
    const { prekeys, store, clock, person, home, hostile } = await startWith(100)
    await using _store = store
    for (const region of [hostile, home]) await fetchMany(prekeys, person, burst, 0, region)
    for (const region of [hostile, home]) assertLastResort(await prekeys.bundle(person.userId, 1, somebody(90, region)))
    clock.advanceTo(clock.now() + BUNDLE_SHARE_BUDGET.refillMs)
    for (const region of [hostile, home]) {
      assert.deepEqual((await fetchMany(prekeys, person, 2, 100, region)).map(withOneTime), [true, false])
    }
  })

  it('gives all regions together so many one-time keys, and a bundle beyond that', async () => {
    const { prekeys, store, clock, person, home } = await startWith(BUNDLE_TARGET_BUDGET.burst)
    await using _store = store
    await fetchMany(prekeys, person, BUNDLE_TARGET_BUDGET.burst)
    await prekeys.stock(person.userId, person.device, makePrekeys(person, 50, 1_000, NOW + 1))
    assertLastResort(await prekeys.bundle(person.userId, 1, somebody(1, home)))
    clock.advanceTo(clock.now() + BUNDLE_TARGET_BUDGET.refillMs)
    assert.ok(withOneTime(await prekeys.bundle(person.userId, 1, somebody(1, home))))
  })

  it('tells the owner once that few are left, and refuses one requester that asks on and on', async () => {
    const { prekeys, store, low, person, hostile } = await startWith(burst + 4)
    await using _store = store
    await fetchMany(prekeys, person, 260, 0, hostile)
    assert.deepEqual([low.length, low[0]?.oneTime], [1, burst])
    for (let i = 1; i < BUNDLE_PAIR_BUDGET.burst; i++) await prekeys.bundle(person.userId, 1, somebody(0, hostile))
    await assert.rejects(prekeys.bundle(person.userId, 1, somebody(0, hostile)), code('overloaded'))
  })

  it('writes nothing for a bundle without a one-time key', async () => {
    const { prekeys, store, disk, person, hostile } = await startWith(100)
    await fetchMany(prekeys, person, burst, 0, hostile)
    disk.disk.faults.nextAppend = 'failing'
    assertLastResort(await prekeys.bundle(person.userId, 1, somebody(burst, hostile)))
    assert.equal(disk.disk.faults.nextAppend, 'failing', 'the disk was not asked')
    store.abandon()
  })
})
