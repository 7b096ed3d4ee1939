// A conversation between people of several devices each: whatever is written reaches all other devices, in its own
// place, and every device's writing has a session of its own.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { directConvId, type Manifest, openManifest, simulatedRandom, systemRandom } from '#protocol'
import { createAccount, type DeviceKeys, describeDevice, newDeviceKeys, succeedManifest } from './account.ts'
import { openContent } from './content.ts'
import { type PeerDevice, peerDevice } from './peer.ts'
import { EMPTY_PREKEY_STATE } from './prekey-state.ts'
import { makePrekeys, planPrekeys } from './prekeys.ts'
import { newRecoveryPhrase, rootKeyOfPhrase } from './recovery.ts'
import { openSessions, type Sessions } from './sessions.ts'
import { memoryKeyStorage } from './storage.ts'
import { isOwnTag, makeTag } from './tag.ts'
import { clock, north, refused, START_MS, sealContent, TestHome } from './test-people.ts'

type Machine = { keys: DeviceKeys; peer: PeerDevice; sessions: Sessions; home: TestHome; k: number }

function machineOf(keys: DeviceKeys, manifest: Manifest): Machine {
  const storage = memoryKeyStorage()
  const described = manifest.devices.find((device) => device.number === keys.number)!
  const home = new TestHome(manifest, described)
  const plan = planPrekeys(EMPTY_PREKEY_STATE, { oneTime: 0, oneTimeKyber: 0 }, START_MS)
  home.take(makePrekeys(storage, keys, { ...plan, oneTime: 2, oneTimeKyber: 1 }, START_MS))
  const sessions = openSessions({ storage, device: keys, clock })
  return { keys, home, sessions, peer: peerDevice(manifest.userId, described), k: 0 }
}

/** A person whose devices 2 .. count were linked by later manifests. */
function machinesOf(count: number): Machine[] {
  const made = createAccount(
    rootKeyOfPhrase(newRecoveryPhrase(systemRandom)),
    { homeRegion: north, fallbackRegions: [] },
    systemRandom,
  )
  let manifest = openManifest(made.manifest, START_MS)
  const all = [made.device]
  while (all.length < count) {
    const registration = { rootEpoch: 1, version: manifest.version + 1 }
    const linked = newDeviceKeys(manifest.userId, all.length + 1, registration, systemRandom)
    const devices = [...manifest.devices, describeDevice(linked)]
    manifest = openManifest(succeedManifest(made.account, manifest, { devices, home: undefined }).manifest, START_MS)
    all.push(linked)
  }
  return all.map((keys) => machineOf(keys, manifest))
}

test('everyone writes from every device, and every other device reads it once, in its place', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3 }),
      fc.array(fc.nat(), { minLength: 1, maxLength: 12 }),
      async (count, turns) => {
        const machines = [...machinesOf(count), ...machinesOf(2)]
        const convId = directConvId(machines[0]!.peer.userId, machines.at(-1)!.peer.userId)
        for (const [i, turn] of turns.entries()) {
          const author = machines[turn % machines.length]!
          const readers = machines.filter((machine) => machine !== author)
          for (const { peer, home } of readers) {
            if (!author.sessions.hasSession(peer)) await author.sessions.setUp(peer, home.bundle())
          }
          const place = { convId, k: ++author.k }
          const said = { body: { kind: 'text' as const, text: `line ${i}` }, seen: undefined, stateKey: undefined }
          const parts = await sealContent(
            author.sessions,
            readers.map(({ peer }) => peer),
            place,
            said,
          )
          assert.equal(new Set(parts.map((part) => Buffer.from(part).toString('base64'))).size, readers.length)
          for (const [at, reader] of readers.entries()) {
            const wrongPart = parts[(at + 1) % parts.length]!
            if (parts.length > 1) {
              await assert.rejects(
                openContent(reader.sessions, author.peer, place, wrongPart),
                refused('undecryptable', 'no_session', 'replayed'),
              )
            }
            assert.deepEqual(await openContent(reader.sessions, author.peer, place, parts[at]!), said)
            await assert.rejects(openContent(reader.sessions, author.peer, place, parts[at]!), refused('replayed'))
          }
        }
      },
    ),
    { numRuns: 10 },
  )
})

test('a tag of one device is not taken for its own by another of the same person', () => {
  const [first, second] = machinesOf(2) as [Machine, Machine]
  const place = { convId: directConvId(first.peer.userId, machinesOf(1)[0]!.peer.userId), k: 1 }
  const tag = makeTag(first.keys.tagSecret, place, simulatedRandom(1))
  assert.ok(isOwnTag(first.keys.tagSecret, place, tag))
  assert.ok(!isOwnTag(second.keys.tagSecret, place, tag))
})
