// The engine's cipher over libsignal: sessions and prekeys write to a staged overlay of the profile's keys, which goes
// into the transaction of the turn.
import { createSecretKey } from 'node:crypto'
import {
  applyKeyChanges,
  type DeviceKeys,
  isOwnTag,
  makeTag,
  newStateKey,
  openContent,
  openReadMark,
  openSessions,
  replenishPrekeys,
  sealContents,
  sealReadMark,
  stagedKeyStorage,
} from '#crypto'
import type { Clock, Random } from '#protocol'
import { keyStorage } from './db/key-storage.ts'
import type { Cipher } from './rules/ports.ts'
import type { DbReader } from './rules/schema.ts'

export function signalCipher(db: DbReader, device: DeviceKeys, clock: Clock, random: Random): Cipher {
  const staged = stagedKeyStorage(keyStorage(db, undefined))
  const sessions = openSessions({ storage: staged.storage, device, clock })
  const { number, registrationEpoch, registrationVersion, userId } = device
  const tagSecret = createSecretKey(device.tagSecret)
  const writer = { userId, device: number, registrationEpoch, registrationVersion }
  return {
    hasSession: (peer) => sessions.hasSession(peer),
    setUp: (peer, bundle) => sessions.setUp(peer, bundle),
    forget: (peer) => sessions.forget(peer),
    seal: (peers, items) => sealContents(sessions, peers, items),
    open: (peer, place, ciphertext) => openContent(sessions, peer, place, ciphertext),
    makeTag: (place) => makeTag(tagSecret, place, random),
    ownsTag: (place, tag) => isOwnTag(tagSecret, place, tag),
    newStateKey: () => newStateKey(random),
    sealReadMark: (stateKey, where, at) => sealReadMark(stateKey, writer, where, at, random),
    openReadMark,
    replenish: (counts) => replenishPrekeys(staged.storage, device, counts, clock.now()),
    commit(tx) {
      applyKeyChanges(keyStorage(db, tx), staged.changes())
      staged.reset()
    },
  }
}
