// The language everyone speaks.

export { putU32, slabAllocator, u32At } from './bytes.ts'
export { compareVersions, grant, sha256, signRecord, type Version } from './chain.ts'
export { REGISTER_DELIVERED, REGISTER_READ } from './checks.ts'
export { type Clock, type Random, systemClock, systemRandom, type Timer } from './clock.ts'
export { decodeContent, encodeContent } from './content-codec.ts'
export { type Context, signUnder, verifyUnder } from './contexts.ts'
export { type Cut, cutAt, hashBefore, isVoid, keptOf, nextPlace } from './cuts.ts'
export { type SigningKey, signingKey, verifySignature } from './ed25519.ts'
export {
  chainHash,
  checkEntry,
  copyEntry,
  type DeviceKey,
  type EntryHeader,
  type EntryPart,
  entryPosition,
  epochHash,
  HEADER_BYTES,
  KIND_CONTENT,
  KIND_CONTROL,
  KIND_KEYS,
  KIND_SKIP,
  KIND_SUPPLEMENT,
  partFor,
  readHeader,
  readParts,
  selectParts,
  TAG_BYTES,
  writeEntry,
} from './entry.ts'
export { createFairLine, type FairLine, type Speaking } from './fair-line.ts'
export { decodeDeviceFrame, decodeHomeFrame, encodeDeviceFrame, encodeHomeFrame } from './frames.ts'
export * from './gen/content_pb.ts'
export * from './gen/link_pb.ts'
export * from './gen/records_pb.ts'
export {
  type Behind,
  BehindSchema,
  type ConversationName,
  ConversationNameSchema,
  type Cursor,
  CursorSchema,
  type DeviceFrame,
  DeviceFrameSchema,
  EmptySchema,
  type Entries,
  EntriesSchema,
  type HomeFrame,
  HomeFrameSchema,
  type HostMoved,
  HostMovedSchema,
  type HttpToken,
  HttpTokenSchema,
  type ManifestVersion,
  ManifestVersionSchema,
  type Notice,
  NoticeSchema,
  type Part,
  PartSchema,
  type Position as WirePosition,
  PositionSchema,
  PrekeysLowSchema,
  type Pull,
  PullSchema,
  type Refusal,
  RefusalSchema,
  type RegisterUpdate,
  RegisterUpdateSchema,
  type Session,
  SessionSchema,
  type StaleManifests,
  StaleManifestsSchema,
  type Submission,
  SubmissionSchema,
  type Verdict,
  VerdictSchema,
} from './gen/session_pb.ts'
export { directConvId, directGenesis, type Genesis, readGenesis } from './genesis.ts'
export { audienceOf, framesGoPlain } from './handshake.ts'
export { HomeFrameWriter, sizeOfOwn } from './home-frame-writer.ts'
export {
  type Closed,
  type ClosedInit,
  cutOf,
  type HostRegister,
  hostRegisterPayload,
  openClosed,
  openHostRegister,
  type RegionSigner,
  readHostRegister,
  signClosed,
  signHostRegister,
} from './host-registers.ts'
export {
  type ConvId,
  compareIds,
  convIdBytes,
  convIdOf,
  convIdOfGenesis,
  ensureConvId,
  ensureRegionId,
  ensureUserId,
  ID_BYTES,
  type RegionId,
  regionIdBytes,
  regionIdOf,
  regionIdOfRootKey,
  type UserId,
  userIdBytes,
  userIdOf,
  userIdOfRootKey,
} from './ids.ts'
export {
  isAhead,
  isOwnPosition,
  type JournalPlace,
  NO_PLACE,
  placeOfJournal,
  sealPosition,
} from './journal-position.ts'
export { keyObjectOf } from './key-objects.ts'
export * as limits from './limits.ts'
export { readLinkFrame } from './link-frame-codec.ts'
export {
  decodeItem,
  decodeLinkFrame,
  decodeLinkRequest,
  decodeLinkResponse,
  encodeItem,
  encodeLinkFrame,
  encodeLinkRequest,
  encodeLinkResponse,
  type RelayItem,
} from './link-frames.ts'
export {
  earlier,
  epochOf,
  isPosition,
  NOWHERE,
  nextOf,
  nOf,
  type Position,
  positionOf,
  positionText,
} from './position.ts'
export { openPrekeys, type Prekeys } from './prekeys.ts'
export { encodeHomeRecord, encodeIntro, sizeOfName, sizeOfSignedRecord } from './record-writer.ts'
export {
  countersign,
  type Home,
  type Manifest,
  openHomeRecord,
  openManifest,
} from './records.ts'
export { errorOf, isRefusalCode, ParleyError, type RefusalCode, refusalOf } from './refusals.ts'
export { type NodeCertificate, openNodeCertificate, openRegionRecord, type Region } from './region-records.ts'
export { type Channel, SEAL_OVERHEAD_BYTES, type SignInMode } from './sealed.ts'
export {
  answerNode,
  openReady,
  type ProofOptions,
  type SignInAwaiting,
  type SignInStart,
  startSignIn,
} from './sign-in.ts'
export {
  deviceOf,
  receiveHello,
  receiveProof,
  SIGN_IN_REFUSED_CLOSE,
  type SignInClaim,
  type SignInHeard,
  type SignInHelloOptions,
  type SignInProved,
} from './sign-in-node.ts'
export { SimulatedClock, simulatedRandom } from './simulated.ts'
export { packSubmission, sizeOfSubmission, unpackSubmission } from './submission-codec.ts'
export { decode } from './wire.ts'
