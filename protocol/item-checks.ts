// What must hold of what relays say to each other, beyond its being a message of its kind.
import { create } from '@bufbuild/protobuf'
import {
  checkCursor,
  checkHomeRecordShape,
  checkK,
  checkPlace,
  checkRefusal,
  checkRegister,
  checkRun,
  checkStale,
  checkSubmission,
  ensure,
  ensureAtMost,
  HASH_BYTES,
} from './checks.ts'
import { TAG_BYTES } from './entry.ts'
import {
  type Ballot,
  Ballot_Phase,
  type BallotNumber,
  type JournalPosition,
  type Range,
  type Registers,
  RegistersSchema,
  type Snapshot,
  type StreamKey,
  type SubmissionState,
  type Submissions,
} from './gen/link_pb.ts'
import type { RegisterUpdate } from './gen/session_pb.ts'
import { ID_BYTES } from './ids.ts'
import { POSITION_BOOT_BYTES, POSITION_MAC_BYTES } from './journal-position.ts'
import { DEVICE_NUMBER_MAX, EPOCH_MAX, HOST_REGISTERS_MAX, IN_FLIGHT_MAX } from './limits.ts'

export function checkStreamKey(key: StreamKey | undefined): void {
  ensure(key !== undefined, 'a stream of nobody')
  ensure(key.device >= 1 && key.device <= DEVICE_NUMBER_MAX, 'a stream of no possible device')
  ensure(
    key.registrationEpoch >= 1 && key.registrationEpoch <= EPOCH_MAX && key.registrationVersion >= 1,
    'a registration out of range',
  )
}

export function checkSubmissions(value: Submissions): void {
  checkStreamKey(value.author)
  ensure(value.items.length > 0, 'submissions that are none')
  let before = 0
  for (const item of value.items) {
    ensure(item.conv === 0, 'a ref within an item')
    ensure(item.k > before, 'submissions that do not ascend')
    checkSubmission(item)
    before = item.k
  }
}

export function checkRegisters(value: Registers, check: (register: RegisterUpdate) => void): void {
  ensure(value.items.length > 0, 'registers that are none')
  for (const item of value.items) {
    ensure(item.conv === 0, 'a ref within an item')
    check(item)
  }
}

export function checkEpoch(epoch: number): void {
  ensure(epoch >= 1 && epoch <= EPOCH_MAX, 'an epoch out of range')
}

export function checkSubmissionState(value: SubmissionState): void {
  checkStreamKey(value.author)
  const { verdict } = value
  if (verdict.case === undefined) return
  if (verdict.case !== 'behind') checkK(value.k)
  if (verdict.case === 'wait' || verdict.case === 'final') checkRefusal(verdict.value)
  else if (verdict.case === 'stale') checkStale(verdict.value)
  else if (verdict.case === 'moved') checkHomeRecordShape(verdict.value)
}

/** A place with its seal, or nothing at all. */
export function checkJournalPosition({ life, commit, boot, mac }: JournalPosition): void {
  const isSealed = boot.length === POSITION_BOOT_BYTES && mac.length === POSITION_MAC_BYTES
  const isPlace = isSealed && life > 0 && commit <= BigInt(Number.MAX_SAFE_INTEGER)
  const isNothing = life === 0 && commit === 0n && boot.length === 0 && mac.length === 0
  ensure(isPlace || isNothing, 'half a position of a journal')
}

export function checkBallotNumber(number: BallotNumber | undefined): void {
  ensure(number !== undefined && number.round >= 1 && number.region.length === ID_BYTES, 'a ballot without a number')
}

export function checkBallot(value: Ballot): void {
  checkEpoch(value.epoch)
  checkBallotNumber(value.number)
  if (value.accepted) checkBallotNumber(value.accepted)
  const { phase } = value
  ensure(phase >= Ballot_Phase.PREPARE && phase <= Ballot_Phase.REFUSED, `a ballot of phase ${phase}`)
  ensure((value.closed !== undefined) === (phase === Ballot_Phase.PROMISE), 'a statement goes with a promise')
  const carries = phase === Ballot_Phase.ACCEPT || value.accepted !== undefined
  ensure(value.value.length > 0 === carries, 'a value goes with what is to be accepted, or was')
}

export function checkSnapshot(value: Snapshot): void {
  for (const place of [value.low, value.safe]) {
    ensure(place !== undefined, 'a snapshot without its places')
    checkCursor(place.epoch, place.n)
  }
  ensure(value.headHash.length === HASH_BYTES, 'a head hash of the wrong length')
  for (const { author, last, window } of value.authors) {
    checkStreamKey(author)
    ensureAtMost(window.length, IN_FLIGHT_MAX, 'places of an author')
    let before = 0
    for (const { k, epoch, n, tag } of window) {
      checkPlace(epoch, n)
      ensure(k > before && k <= last && tag.length === TAG_BYTES, 'a table that does not ascend')
      before = k
    }
    ensure(before === last, 'a table without its end')
  }
  if (value.registers.length > 0) checkRegisters(create(RegistersSchema, { items: value.registers }), checkRegister)
  ensureAtMost(value.hostRegisters.length, HOST_REGISTERS_MAX, 'host registers')
  for (const held of value.held) checkSubmissions(held)
}

export function checkRange(value: Range): void {
  checkCursor(value.afterEpoch, value.afterN)
  checkCursor(value.headEpoch, value.headN)
  checkRun(value.entry, new Uint8Array(0))
  if (value.snapshot) checkSnapshot(value.snapshot)
}
