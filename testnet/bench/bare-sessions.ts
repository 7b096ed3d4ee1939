// What libsignal itself costs: one session over storage in memory, with nothing of the SDK but its calls.
import { create } from '@bufbuild/protobuf'
import {
  createAccount,
  EMPTY_PREKEY_STATE,
  makePrekeys,
  memoryKeyStorage,
  newRecoveryPhrase,
  openSessions,
  type PeerDevice,
  peerDevice,
  planPrekeys,
  rootKeyOfPhrase,
  type Sessions,
  stagedKeyStorage,
} from '#crypto'
import {
  decode,
  limits,
  openManifest,
  type PrekeyBundle,
  PrekeyBundleSchema,
  PrekeysBodySchema,
  regionIdOf,
  systemClock,
  systemRandom,
  userIdBytes,
} from '#protocol'
import type { SdkSpent } from './sdk-orders.ts'

const WARM_UP = 500
/** What a text carries besides itself, padded. */
const AROUND_BYTES = 64

type Party = { readonly sessions: Sessions; readonly peer: PeerDevice; readonly bundle: PrekeyBundle }

function newParty(): Party {
  const root = rootKeyOfPhrase(newRecoveryPhrase(systemRandom))
  const home = { homeRegion: regionIdOf(new Uint8Array(32)), fallbackRegions: [] }
  const { device, manifest } = createAccount(root, home, systemRandom)
  const now = systemClock.now()
  const { userId, devices } = openManifest(manifest, now)
  const own = devices[0]!
  const { storage } = stagedKeyStorage(memoryKeyStorage())
  const plan = planPrekeys(EMPTY_PREKEY_STATE, { oneTime: 0, oneTimeKyber: 0 }, now)
  const { payload } = makePrekeys(storage, device, { ...plan, oneTime: 1, oneTimeKyber: 1 }, now)
  const { signed, oneTime, oneTimeKyber } = decode(PrekeysBodySchema, payload, limits.REQUEST_MAX_BYTES)
  const bundle = create(PrekeyBundleSchema, {
    userId: userIdBytes(userId),
    device: own.number,
    registrationEpoch: own.registrationEpoch,
    registrationVersion: own.registrationVersion,
    signed: signed!,
    oneTime: oneTime[0]!,
    kyber: oneTimeKyber[0]!,
  })
  return { sessions: openSessions({ storage, device, clock: systemClock }), peer: peerDevice(userId, own), bundle }
}

async function timed(count: number, step: (i: number) => Promise<unknown>): Promise<SdkSpent> {
  const began = systemClock.monotonic()
  const cpu = process.cpuUsage()
  for (let i = 0; i < count; i++) await step(i)
  const { user, system } = process.cpuUsage(cpu)
  return { count, wallMs: systemClock.monotonic() - began, cpuMs: (user + system) / 1_000 }
}

/** Texts of so many bytes, sealed one after the other, then opened. */
export async function bareSessions(count: number, textBytes: number): Promise<{ seal: SdkSpent; open: SdkSpent }> {
  const [ana, ben] = [newParty(), newParty()]
  await ana.sessions.setUp(ben.peer, ben.bundle)
  await ben.sessions.decrypt(ana.peer, await ana.sessions.encrypt(ben.peer, Uint8Array.of(1)))
  await ana.sessions.decrypt(ben.peer, await ben.sessions.encrypt(ana.peer, Uint8Array.of(2)))
  const text = systemRandom.bytes(textBytes + AROUND_BYTES)
  const sealed: Uint8Array[] = []
  const seal = async (): Promise<unknown> => sealed.push(await ana.sessions.encrypt(ben.peer, text))
  const open = (i: number): Promise<unknown> => ben.sessions.decrypt(ana.peer, sealed[i]!)
  await timed(WARM_UP, seal)
  await timed(WARM_UP, open)
  sealed.length = 0
  const first = await timed(count, seal)
  return { seal: first, open: await timed(count, open) }
}
