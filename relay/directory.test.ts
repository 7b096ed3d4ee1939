import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  compareVersions,
  type Home,
  openHomeRecord,
  ParleyError,
  type RegionId,
  systemClock,
  type UserId,
  UserQuerySchema,
  UserRecordsSchema,
  userIdBytes,
} from '#protocol'
import { type Accounts, createAccounts } from './accounts/accounts.ts'
import { countersignHead } from './accounts/countersigner.ts'
import { createPrekeys } from './accounts/prekeys.ts'
import { accountRows } from './accounts/rows.ts'
import { answerRequests, createDirectory, type DirectoryParts } from './directory.ts'
import {
  makeDevice,
  makePerson,
  makeRegion,
  makeStore,
  type Person,
  type Records,
  type TestRegion,
} from './fixtures.ts'

const NOW = systemClock.now()
const HERE = makeRegion()

type Answers = Map<RegionId, () => Promise<Uint8Array>>

/** A node whose directory knows what it is told, and whose regions answer as they are told. */
function fakeNode() {
  const homes = new Map<UserId, Home>()
  const fresh = new Map<UserId, Home>()
  const answers: Answers = new Map()
  let asked = 0
  const learnHome = (home: Home): boolean => {
    const known = homes.get(home.userId)
    if (known && compareVersions(home, known) < 0) return false
    homes.set(home.userId, home)
    return true
  }
  const directory = {
    knownHome: (user: UserId) => homes.get(user),
    findHome: async (user: UserId, options?: { fresh: boolean }) =>
      (options?.fresh ? fresh.get(user) : undefined) ?? homes.get(user),
    learnHome,
    learnHomeRecord(record: Home['record']) {
      const home = openHomeRecord(record, NOW)
      if (!learnHome(home)) throw new ParleyError('too_old', 'a newer one is known')
      return home
    },
  }
  const request = async (region: RegionId) => {
    asked++
    const answer = answers.get(region)
    if (!answer) throw new ParleyError('unreachable', 'no such region')
    return answer()
  }
  const node = { directory, request } as unknown as DirectoryParts['node']
  return { node, homes, fresh, answers, asked: () => asked }
}

const homeOf = (records: Records, region: TestRegion): Home => countersignHead(records.head, region, NOW)
const says = (head: Records, manifest: Records, region: TestRegion) => async () =>
  toBinary(
    UserRecordsSchema,
    create(UserRecordsSchema, { home: homeOf(head, region).record, manifest: manifest.manifest }),
  )

async function start() {
  const store = await makeStore().open()
  const rows = accountRows(store)
  const accounts = createAccounts({
    rows,
    clock: systemClock,
    keys: HERE,
    policy: () => undefined,
    onChange: () => undefined,
  })
  const region = HERE.regionId
  const prekeys = createPrekeys({
    rows,
    accounts,
    clock: systemClock,
    region,
    onLow: () => undefined,
    onGiven: () => undefined,
  })
  const fake = fakeNode()
  const directory = createDirectory({ region, clock: systemClock, accounts, prekeys, node: fake.node })
  return { ...fake, accounts, prekeys, directory, store }
}

function twoVersions(person: Person): [Records, Records] {
  const devices = [person.device.entry, makeDevice(2, { rootEpoch: 1, version: 2 }).entry]
  return [person.first, person.sign({ version: 2, previousHash: person.first.opened.hash, devices })]
}

describe('the directory', () => {
  const there = makeRegion()

  it('asks the home of a stranger once for many who ask, and remembers', async () => {
    const { directory, homes, answers, asked } = await start()
    const person = makePerson(there.regionId)
    const home = homeOf(person.first, there)
    homes.set(person.userId, home)
    answers.set(there.regionId, says(person.first, person.first, there))
    const found = await Promise.all(Array.from({ length: 10 }, () => directory.find(person.userId)))
    assert.ok(found.every((one) => one?.manifest.version === 1))
    assert.equal(asked(), 1)
    assert.equal(directory.knownManifest(person.userId)?.version, 1)
    assert.equal((await directory.findManifest(person.userId, home))?.version, 1)
    assert.equal(asked(), 1)
  })

  it('refuses an older manifest than the directory knows, and one that its home record does not name', async () => {
    const { directory, homes, answers } = await start()
    const person = makePerson(there.regionId)
    const [first, second] = twoVersions(person)
    homes.set(person.userId, homeOf(second, there))
    answers.set(there.regionId, says(first, first, there))
    await assert.rejects(directory.find(person.userId), { code: 'too_old' })
    answers.set(there.regionId, says(second, first, there))
    await assert.rejects(directory.find(person.userId), { code: 'conflict' })
    const other = makePerson(there.regionId)
    answers.set(there.regionId, says(other.first, other.first, there))
    await assert.rejects(directory.find(person.userId), { code: 'conflict' })
    answers.set(there.regionId, async () => new Uint8Array([255]))
    await assert.rejects(directory.find(person.userId), { code: 'malformed' })
    assert.equal(directory.knownManifest(person.userId), undefined)
  })

  it('follows somebody who has moved, and falls back on what it knew while a home is away', async () => {
    const { directory, homes, fresh, answers } = await start()
    const elsewhere = makeRegion()
    const person = makePerson(there.regionId)
    homes.set(person.userId, homeOf(person.first, there))
    answers.set(there.regionId, async () => {
      throw new ParleyError('not_home', 'moved')
    })
    const moved = person.sign({
      version: 2,
      previousHash: person.first.opened.hash,
      home: elsewhere.regionId,
      generation: 2,
    })
    await assert.rejects(directory.find(person.userId), { code: 'not_home' })
    fresh.set(person.userId, homeOf(moved, elsewhere))
    assert.equal((await directory.findHome(person.userId))?.homeRegion, there.regionId, 'what is known will do')
    const anew = await directory.findHome(person.userId, { fresh: true })
    assert.equal(anew?.homeRegion, elsewhere.regionId, 'unless it is asked for anew')
    answers.set(elsewhere.regionId, says(moved, moved, elsewhere))
    assert.equal((await directory.find(person.userId))?.home.homeRegion, elsewhere.regionId)
    answers.delete(elsewhere.regionId)
    assert.equal((await directory.find(person.userId))?.manifest.version, 2)
    const unknown = makePerson(there.regionId)
    assert.equal(await directory.find(unknown.userId), undefined)
  })

  it('believes only the store about people of this region', async () => {
    const { directory, homes, accounts } = await start()
    const person = makePerson(HERE.regionId)
    const [first, second] = twoVersions(person)
    await accounts.register(first.manifest, first.head, '')
    const forged = homeOf(second, HERE)
    homes.set(person.userId, forged)
    assert.equal(directory.knownHome(person.userId)?.version, 1)
    assert.equal((await directory.findHome(person.userId))?.version, 1)
    assert.equal((await directory.findManifest(person.userId, forged))?.version, 1)
    assert.equal((await directory.find(person.userId))?.manifest.version, 1)
  })

  it('answers other regions about its own people, and names the home of others', async () => {
    const { accounts, prekeys, homes, node } = await start()
    const handlers = new Map<
      string,
      (from: { peerId: string; region: RegionId | undefined }, body: Uint8Array) => Promise<Uint8Array>
    >()
    const handle = (method: string, handler: never) => void handlers.set(method, handler)
    answerRequests({
      accounts: accounts as Accounts,
      prekeys,
      node: { ...node, handle } as never,
    })
    const ask = (method: string, user: UserId, region: RegionId | undefined = there.regionId) => {
      const query = create(UserQuerySchema, { userId: userIdBytes(user), device: 1, requester: userIdBytes(user) })
      return handlers.get(method)!({ peerId: 'peer', region }, toBinary(UserQuerySchema, query))
    }
    const [here, gone, nobody] = [makePerson(HERE.regionId), makePerson(there.regionId), makePerson(HERE.regionId)]
    await accounts.register(here.first.manifest, here.first.head, '')
    homes.set(gone.userId, homeOf(gone.first, there))
    const records = fromBinary(UserRecordsSchema, await ask('records', here.userId))
    assert.equal(openHomeRecord(records.home!, NOW).userId, here.userId)
    await assert.rejects(ask('records', gone.userId), { code: 'not_home', facts: { home: there.regionId } })
    await assert.rejects(ask('records', nobody.userId), { code: 'unknown_user' })
    await assert.rejects(ask('bundle', here.userId), { code: 'not_found' })
    const bundle = handlers.get('bundle')!
    await assert.rejects(bundle({ peerId: 'peer', region: undefined }, new Uint8Array(0)), { code: 'not_admitted' })
  })
})
