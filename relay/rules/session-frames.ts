// What a session has to say, cut into frames: one in the usual case, several when a device is far behind. Bytes and
// items are counted, so that no frame is over a limit, whatever is in it.
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import {
  type EntriesSchema,
  epochOf,
  type HomeFrame,
  HomeFrameSchema,
  type HomeRecord,
  HomeRecordSchema,
  limits,
  nOf,
  type Position,
  VerdictSchema,
} from '#protocol'

export type VerdictInit = Exclude<MessageInitShape<typeof VerdictSchema>, { $typeName: string }>
type RunInit = Exclude<MessageInitShape<typeof EntriesSchema>, { $typeName: string }>

/** Entries of one conversation in a row. */
export type Run = {
  conv: number
  entry: Uint8Array[]
  headHash: Uint8Array
  page: boolean
  head: Position
  base: Position | undefined
}

type Lists = {
  names: { ref: number; convId: Uint8Array; genesis: Uint8Array; homeRecords: HomeRecord[] }[]
  verdicts: VerdictInit[]
  behind: { conv: number; headEpoch: number; headN: number; fromEpoch: number; fromN: number }[]
  registers: { conv: number; kind: number; member: number; device: number; version: bigint; body: Uint8Array }[]
  /** 0: none. */
  pong: number
}

/** What leaves together. */
export type Draft = Lists & { runs: Run[] }
type FrameInit = Lists & { entries: RunInit[] }

export const newDraft = (): Draft => ({ names: [], verdicts: [], runs: [], behind: [], pong: 0, registers: [] })
const newFrame = (): FrameInit => ({ names: [], verdicts: [], entries: [], behind: [], pong: 0, registers: [] })

/** Where a frame is cut: the largest single item still fits when it is alone in one. */
const FRAME_BYTES = limits.FRAME_MAX_BYTES / 2
const FRAME_ITEMS = limits.FRAME_ITEMS_MAX / 2
/** What an item, a name or a run takes beside its bytes of variable length, at most. */
const ITEM_BYTES = 64
const NAME_BYTES = 160
const RUN_BYTES = 96
/** Repeated fields within a refusal or a record, at most. */
const NESTED_ITEMS = 32

type Size = readonly [bytes: number, items: number]

class Frames {
  readonly #cut: HomeFrame[] = []
  #bytes = 0
  #items = 0
  frame: FrameInit = newFrame()

  fits([bytes, items]: Size): boolean {
    return this.#items === 0 || (this.#bytes + bytes <= FRAME_BYTES && this.#items + items <= FRAME_ITEMS)
  }

  /** Something goes into this frame, or begins the next one. */
  room(size: Size): void {
    if (!this.fits(size)) this.#close()
    this.#bytes += size[0]
    this.#items += size[1]
  }

  #close(): void {
    this.#cut.push(create(HomeFrameSchema, this.frame))
    this.frame = newFrame()
    this.#bytes = 0
    this.#items = 0
  }

  done(pong: number): HomeFrame[] {
    this.frame.pong = pong
    if (this.#items > 0 || pong > 0) this.#close()
    return this.#cut
  }
}

/** Names go ahead of what uses them, and a pong comes after everything. */
export function framesOf(draft: Draft): HomeFrame[] {
  const frames = new Frames()
  for (const name of draft.names) {
    frames.room(sizeOfName(name))
    frames.frame.names.push(name)
  }
  for (const verdict of draft.verdicts) {
    frames.room(sizeOfVerdict(verdict))
    frames.frame.verdicts.push(verdict)
  }
  for (const run of draft.runs) addRun(frames, run)
  for (const behind of draft.behind) {
    frames.room([ITEM_BYTES, 1])
    frames.frame.behind.push(behind)
  }
  for (const register of draft.registers) {
    frames.room([ITEM_BYTES + register.body.length, 1])
    frames.frame.registers.push(register)
  }
  return frames.done(draft.pong)
}

/** Cut between entries; the head's hash and the end of a page go with the last. */
function addRun(frames: Frames, run: Run): void {
  frames.room([RUN_BYTES, 1])
  let entries: Uint8Array[] = []
  for (const entry of run.entry) {
    const size: Size = [RUN_BYTES + entry.length, 1]
    if (!frames.fits(size)) {
      if (entries.length > 0) frames.frame.entries.push(wireRun(run, entries, false))
      entries = []
    }
    frames.room(size)
    entries.push(entry)
  }
  frames.frame.entries.push(wireRun(run, entries, true))
}

function sizeOfName({ homeRecords }: Lists['names'][number]): Size {
  let bytes = NAME_BYTES
  for (const record of homeRecords) bytes += toBinary(HomeRecordSchema, record).length + 8
  return [bytes, 1 + homeRecords.length]
}

function sizeOfVerdict(verdict: VerdictInit): Size {
  const outcome = verdict.outcome?.case
  if (outcome !== 'wait' && outcome !== 'final' && outcome !== 'stale' && outcome !== 'moved') return [ITEM_BYTES, 1]
  const whole = create(VerdictSchema, verdict)
  const nested = whole.outcome.case === 'stale' ? whole.outcome.value.newest.length : NESTED_ITEMS
  return [toBinary(VerdictSchema, whole).length + 8, 1 + nested]
}

function wireRun(run: Run, entry: Uint8Array[], last: boolean): RunInit {
  return {
    conv: run.conv,
    entry,
    headHash: last ? run.headHash : new Uint8Array(0),
    page: run.page && last,
    headEpoch: epochOf(run.head),
    headN: nOf(run.head),
    ...(run.base === undefined ? {} : { base: { epoch: epochOf(run.base), n: nOf(run.base) } }),
  }
}
