// What a region makes of host registers: whether one is the next of a conversation, whether it may be followed, and how
// they lie in the store. A register that verifies was signed by the region that the person's home record names; that
// alone would let a new home cut what it likes, so a region asks for statements that bind what it knows itself.
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  type ConvId,
  type HostRegister,
  nOf,
  openHostRegister,
  ParleyError,
  type Position,
  type RegionId,
  type SignedRecord,
  SignedRecordSchema,
  type UserId,
} from '#protocol'
import { majorityOf } from './ballots.ts'

/** What a region knows of the epoch that a register ends. */
export type EpochView = {
  readonly id: ConvId
  readonly epoch: number
  readonly host: RegionId
  /** Of all members. */
  readonly regions: readonly RegionId[]
  /** It has nothing of the conversation that could be cut off. */
  readonly empty: boolean
  /** What every member region had: nobody honest cuts it off. */
  readonly safe: Position
  /** Whose home record names the host of a direct conversation. */
  readonly decides: UserId | undefined
}

export type Following = 'known' | 'follow'

/**
 * Throws `not_host` when the register is not for this conversation or its statements are not enough: those of the host
 * before, or of more than half of the other member regions.
 */
export function following(view: EpochView, known: readonly HostRegister[], register: HostRegister): Following {
  if (register.convId !== view.id || register.byHomeOf !== view.decides) {
    throw new ParleyError('not_host', 'a host register of something else')
  }
  const same = known.find(({ epoch }) => epoch === register.epoch)
  if (same && Buffer.compare(same.payload, register.payload) !== 0) {
    throw new ParleyError('conflict', 'another region was made host of this epoch', { epoch: `${register.epoch}` })
  }
  if (register.epoch <= view.epoch) return 'known'
  if (nOf(view.safe) > 0 && register.cut < view.safe) {
    throw new ParleyError('conflict', 'a host register that cuts off what every region had', { cut: `${register.cut}` })
  }
  if (!view.empty && !isEnough(view, register)) {
    throw new ParleyError('not_host', 'a host register whose statements are not enough', { epoch: `${register.epoch}` })
  }
  return 'follow'
}

function isEnough(view: EpochView, register: HostRegister): boolean {
  const closed = new Set(register.closed.map(({ region }) => region))
  if (closed.has(view.host)) return true
  const others = othersThan(view.host, view.regions)
  return others.filter((region) => closed.has(region)).length >= majorityOf(others)
}

/** The member regions that decide when the host is gone. */
export function othersThan(host: RegionId | undefined, regions: readonly RegionId[]): RegionId[] {
  return [...new Set(regions)].filter((region) => region !== host)
}

export const writeRecord = (record: SignedRecord): Uint8Array => toBinary(SignedRecordSchema, record)

/** One that was verified before it was stored, whatever has expired since. */
export const readStored = (bytes: Uint8Array): HostRegister =>
  openHostRegister(fromBinary(SignedRecordSchema, bytes), 0)
