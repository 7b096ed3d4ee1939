// How far a region's journal has come, as a note that it gives to other regions to keep. A disk that went back to an old
// backup does not know what was said since; the others hand the note back whenever a link comes up. Only the region
// itself ever has to believe a note, so it is sealed with a secret of its own, and nobody else can read anything into it.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { create } from '@bufbuild/protobuf'
import { type JournalPosition, JournalPositionSchema } from './gen/link_pb.ts'

const CONTEXT = 'parley/journal-position/v1\0'
export const POSITION_MAC_BYTES = 32
export const POSITION_BOOT_BYTES = 8

/** `life`: from 1, one more after every restore. `commit`: one that counts. */
export type JournalPlace = { readonly life: number; readonly commit: number }

export const NO_PLACE: JournalPlace = { life: 0, commit: 0 }

export function isAhead(a: JournalPlace, b: JournalPlace): boolean {
  return a.life > b.life || (a.life === b.life && a.commit > b.commit)
}

export const placeOfJournal = ({ life, commit }: JournalPosition): JournalPlace => ({ life, commit: Number(commit) })

function macOf({ life, commit }: JournalPlace, boot: Uint8Array, secret: Uint8Array): Uint8Array {
  const place = Buffer.alloc(12)
  place.writeUInt32BE(life)
  place.writeBigUInt64BE(BigInt(commit), 4)
  return new Uint8Array(createHmac('sha256', secret).update(CONTEXT).update(place).update(boot).digest())
}

export function sealPosition(place: JournalPlace, boot: Uint8Array, secret: Uint8Array): JournalPosition {
  const { life, commit } = place
  return create(JournalPositionSchema, { life, commit: BigInt(commit), boot, mac: macOf(place, boot, secret) })
}

/** Whether whoever has this secret wrote it. */
export function isOwnPosition(note: JournalPosition, secret: Uint8Array): boolean {
  return (
    note.mac.length === POSITION_MAC_BYTES && timingSafeEqual(macOf(placeOfJournal(note), note.boot, secret), note.mac)
  )
}
