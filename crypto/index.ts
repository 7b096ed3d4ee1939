// Keys, sessions and sealed things of people. The only user of libsignal; storage is a port.
export {
  type AccountKeys,
  createAccount,
  type DeviceKeys,
  describeDevice,
  deviceSigningKey,
  type HomeChoice,
  identityKeyOf,
  type NewAccount,
  newDeviceKeys,
  recoverAccount,
  type SignedManifest,
  succeedManifest,
} from './account.ts'
export {
  type AgainBody,
  type ContentBody,
  type Opened,
  openContent,
  packContent,
  type RetryBody,
  type Said,
  type Sealable,
  type Sealing,
  type SeenHead,
  sealContents,
  unpackContent,
} from './content.ts'
export { packAccountKeys, packDeviceKeys, unpackAccountKeys, unpackDeviceKeys } from './key-file.ts'
export { type PeerDevice, peerDevice } from './peer.ts'
export type { Place } from './place.ts'
export { EMPTY_PREKEY_STATE, type PrekeyState, readPrekeyState } from './prekey-state.ts'
export { isIdle, makePrekeys, type PrekeyCounts, type PrekeyPlan, planPrekeys, replenishPrekeys } from './prekeys.ts'
export { newRecoveryPhrase, rootKeyOfPhrase } from './recovery.ts'
export { mayAnswer, whenToAsk } from './retries.ts'
export { openSessions, type SealedRun, type Sessions, type SessionsOptions } from './sessions.ts'
export {
  newStateKey,
  openReadMark,
  openRegister,
  READ_REGISTER,
  type RegisterName,
  sealReadMark,
  sealRegister,
  type Writer,
} from './state-key.ts'
export {
  applyKeyChanges,
  type KeyChange,
  type KeyStorage,
  type KeyTable,
  memoryKeyStorage,
  packed,
  type StagedKeyStorage,
  stagedKeyStorage,
  type Unpacked,
} from './storage.ts'
export { keyStorageContract } from './storage-contract.ts'
export { isOwnTag, makeTag } from './tag.ts'
export { userAlias } from './user-alias.ts'
export {
  checkScan,
  comparisonDigits,
  parseScan,
  type Scan,
  verificationPayload,
  verificationQr,
} from './verification.ts'
