// What a session has to say, cut into frames: one in the usual case, several when a device is far behind. Bytes and
// items are counted, so that no frame is over a limit, whatever is in it.
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import {
  HomeFrameWriter,
  type HomeRecord,
  limits,
  type Position,
  type SignedRecord,
  sizeOfName,
  sizeOfOwn,
  sizeOfSignedRecord,
  VerdictSchema,
} from '#protocol'

export type VerdictInit = Exclude<MessageInitShape<typeof VerdictSchema>, { $typeName: string }>

/** Entries of one conversation in a row, as they stand in the log. */
export type Run = {
  readonly conv: number
  /** The reader's number: other members' parts are left out. */
  readonly member: number
  readonly entry: Uint8Array[]
  headHash: Uint8Array
  readonly page: boolean
  head: Position
  readonly base: Position | undefined
}

/** What leaves together. */
export type Draft = {
  readonly names: { ref: number; convId: Uint8Array; genesis: Uint8Array; homeRecords: HomeRecord[] }[]
  /** The device's own entries that stand in the log, and for each the device's number of its conversation. */
  readonly sequenced: Uint8Array[]
  readonly sequencedRefs: number[]
  readonly verdicts: VerdictInit[]
  /** Number of a conversation and k, in turns. */
  readonly safe: number[]
  readonly moves: { conv: number; registers: SignedRecord[] }[]
  readonly runs: Run[]
  readonly behind: { conv: number; headEpoch: number; headN: number; fromEpoch: number; fromN: number }[]
  readonly registers: {
    conv: number
    kind: number
    member: number
    device: number
    version: bigint
    body: Uint8Array
  }[]
  /** 0: none. */
  pong: number
}

export function newDraft(): Draft {
  return {
    names: [],
    sequenced: [],
    sequencedRefs: [],
    verdicts: [],
    moves: [],
    safe: [],
    runs: [],
    behind: [],
    registers: [],
    pong: 0,
  }
}

/** Where a frame is cut: the largest single item still fits when it is alone in one. */
const FRAME_BYTES = limits.FRAME_MAX_BYTES / 2
const FRAME_ITEMS = limits.FRAME_ITEMS_MAX / 2
/** What an item, a name or a run takes beside its bytes of variable length, at most. */
const ITEM_BYTES = 64
const NAME_BYTES = 160
const RUN_BYTES = 96
/** Repeated fields within a refusal or a record, at most. */
const NESTED_ITEMS = 32
const NO_HASH = new Uint8Array(0)

/** Frames are made one after the other, and each is done before the next begins. */
const to = new HomeFrameWriter()

class Frames {
  readonly #frames: Uint8Array[] = []
  #items = 0

  fits(bytes: number, items: number): boolean {
    return this.#items === 0 || (to.length + bytes <= FRAME_BYTES && this.#items + items <= FRAME_ITEMS)
  }

  /** Something goes into this frame, or begins the next one. */
  room(bytes: number, items: number): void {
    if (!this.fits(bytes, items)) this.#close()
    this.#items += items
  }

  #close(): void {
    this.#frames.push(to.done())
    this.#items = 0
  }

  cut(): void {
    if (to.length > 0) this.#close()
  }

  done(): Uint8Array[] {
    this.cut()
    return this.#frames
  }
}

/** One after the other, in as few frames as go. `device`: number of the reading device. */
export function framesOf(drafts: readonly Draft[], device: number): Uint8Array[] {
  const frames = new Frames()
  let together = true
  for (const draft of drafts) {
    // A device takes a frame kind by kind: what says how to read on keeps its place among the drafts.
    const plain = isPlain(draft)
    if (!plain || !together) frames.cut()
    together = plain
    addDraft(frames, draft, device)
  }
  return frames.done()
}

function isPlain({ behind, runs, pong }: Draft): boolean {
  return behind.length === 0 && pong === 0 && !runs.some(({ page }) => page)
}

/** Names go ahead of what uses them, and a pong comes after everything. */
function addDraft(frames: Frames, draft: Draft, device: number): void {
  for (const name of draft.names) {
    frames.room(8 + sizeOfName(name), 1 + name.homeRecords.length)
    to.name(name)
  }
  for (const moved of draft.moves) {
    frames.room(sizeOfMove(moved), 1 + moved.registers.length)
    to.moved(moved)
  }
  for (let i = 0; i < draft.sequenced.length; i++) {
    frames.room(ITEM_BYTES, 1)
    to.sequenced(draft.sequencedRefs[i]!, draft.sequenced[i]!)
  }
  for (const verdict of draft.verdicts) addVerdict(frames, verdict)
  for (let i = 0; i < draft.safe.length; i += 2) {
    frames.room(ITEM_BYTES, 1)
    to.safe(draft.safe[i]!, draft.safe[i + 1]!)
  }
  for (const run of draft.runs) addRun(frames, run, device)
  for (const behind of draft.behind) {
    frames.room(ITEM_BYTES, 1)
    to.behind(behind)
  }
  for (const register of draft.registers) {
    frames.room(ITEM_BYTES + register.body.length, 1)
    to.register(register)
  }
  if (draft.pong > 0) to.pong(draft.pong)
}

const sizes: number[] = []

/** Cut between entries; the head's hash and the end of a page go with the last. */
function addRun(frames: Frames, run: Run, device: number): void {
  const { entry } = run
  const reader = { member: run.member, device }
  frames.room(RUN_BYTES, 1)
  let from = 0
  let bytes = 0
  for (let i = 0; i < entry.length; i++) {
    const size = sizeOfOwn(entry[i]!, reader)
    sizes[i] = size
    if (!frames.fits(bytes + RUN_BYTES + size, 1)) {
      if (i > from) to.run({ ...headOf(run), headHash: NO_HASH, page: false }, entry, sizes, from, i, reader)
      from = i
      bytes = 0
    }
    frames.room(bytes + RUN_BYTES + size, 1)
    bytes += size + 4
  }
  to.run(headOf(run), entry, sizes, from, entry.length, reader)
}

const headOf = ({ conv, headHash, page, head, base }: Run) => ({ conv, headHash, page, head, base })

function sizeOfMove({ registers }: Draft['moves'][number]): number {
  let bytes = NAME_BYTES
  for (const record of registers) bytes += sizeOfSignedRecord(record) + 8
  return bytes
}

function addVerdict(frames: Frames, verdict: VerdictInit): void {
  const outcome = verdict.outcome?.case
  if (outcome !== 'wait' && outcome !== 'final' && outcome !== 'stale' && outcome !== 'moved') {
    frames.room(ITEM_BYTES, 1)
  } else {
    const whole = create(VerdictSchema, verdict)
    const nested = whole.outcome.case === 'stale' ? whole.outcome.value.newest.length : NESTED_ITEMS
    frames.room(toBinary(VerdictSchema, whole).length + 8, 1 + nested)
  }
  to.verdict(verdict)
}
