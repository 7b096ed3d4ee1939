// Signed records as protobuf, by hand: every name of a conversation brings those of its members.
import type { HomeRecord, SignedRecord } from './gen/records_pb.ts'
import type { ConversationName } from './gen/session_pb.ts'
import { ProtoWriter, sizeOfBytes, sizeOfField } from './proto-writer.ts'

const sizeOfOptional = ({ length }: Uint8Array): number => (length === 0 ? 0 : sizeOfBytes(length))

const sizeOfGrant = ({ rootKey, payload, signature }: NonNullable<SignedRecord['grant']>): number =>
  sizeOfOptional(rootKey) + sizeOfOptional(payload) + sizeOfOptional(signature)

/** Bytes of the encoded record. */
export function sizeOfSignedRecord({ payload, publicKey, grant, signature }: SignedRecord): number {
  const by = grant ? sizeOfBytes(sizeOfGrant(grant)) : 0
  return sizeOfOptional(payload) + sizeOfOptional(publicKey) + by + sizeOfOptional(signature)
}

/** Bytes of the encoded record. */
export function sizeOfHomeRecord({ head, countersignature }: HomeRecord): number {
  const own = head ? sizeOfBytes(sizeOfSignedRecord(head)) : 0
  return own + (countersignature ? sizeOfBytes(sizeOfSignedRecord(countersignature)) : 0)
}

function signed(to: ProtoWriter, { payload, publicKey, grant, signature }: SignedRecord): void {
  to.bytes(0x0a, payload)
  to.bytes(0x12, publicKey)
  if (grant) {
    to.begin(0x1a, sizeOfGrant(grant))
    to.bytes(0x0a, grant.rootKey)
    to.bytes(0x12, grant.payload)
    to.bytes(0x1a, grant.signature)
  }
  to.bytes(0x22, signature)
}

function homeRecord(to: ProtoWriter, { head, countersignature }: HomeRecord): void {
  if (head) {
    to.begin(0x0a, sizeOfSignedRecord(head))
    signed(to, head)
  }
  if (countersignature) {
    to.begin(0x12, sizeOfSignedRecord(countersignature))
    signed(to, countersignature)
  }
}

const own = new ProtoWriter()

/** In memory of its own: it may be kept. */
export function encodeHomeRecord(record: HomeRecord): Uint8Array {
  own.room(sizeOfHomeRecord(record))
  homeRecord(own, record)
  return own.done().slice()
}

function elements(to: ProtoWriter, tag: number, records: readonly HomeRecord[]): void {
  for (const record of records) {
    const size = sizeOfHomeRecord(record)
    to.room(sizeOfBytes(size))
    to.begin(tag, size)
    homeRecord(to, record)
  }
}

const sizeOfAll = (records: readonly HomeRecord[]): number => {
  let size = 0
  for (const record of records) size += sizeOfBytes(sizeOfHomeRecord(record))
  return size
}

/** An `Intro`. */
export function encodeIntro(genesis: Uint8Array, homeRecords: readonly HomeRecord[]): Uint8Array {
  own.room(sizeOfOptional(genesis))
  own.bytes(0x0a, genesis)
  elements(own, 0x12, homeRecords)
  return own.done()
}

export type NameFields = Pick<ConversationName, 'ref' | 'convId' | 'genesis' | 'homeRecords'>

/** Bytes of the encoded `ConversationName`. */
export const sizeOfName = ({ ref, convId, genesis, homeRecords }: NameFields): number =>
  sizeOfField(ref) + sizeOfOptional(convId) + sizeOfOptional(genesis) + sizeOfAll(homeRecords)

/** A `ConversationName` as an element of a repeated field. */
export function writeName(to: ProtoWriter, tag: number, name: NameFields): void {
  const size = sizeOfName(name)
  to.room(sizeOfBytes(size))
  to.begin(tag, size)
  to.field(0x08, name.ref)
  to.bytes(0x12, name.convId)
  to.bytes(0x1a, name.genesis)
  elements(to, 0x22, name.homeRecords)
}
