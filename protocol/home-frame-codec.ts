// Frames of homes by hand: verdicts and entries are what nearly all of them carry.
import {
  BehindSchema,
  ConversationNameSchema,
  type Empty,
  type Entries,
  type HomeFrame,
  HostMovedSchema,
  NoticeSchema,
  RefusalSchema,
  RegisterUpdateSchema,
  type Verdict,
  VerdictSchema,
  type Position as WirePosition,
} from './gen/session_pb.ts'
import { merged, ProtoReader } from './proto-reader.ts'

const NO_BYTES = new Uint8Array(0)

/** A message that comes twice in a field for one is merged. */
function readPosition(from: ProtoReader, end: number, known: WirePosition | undefined): WirePosition {
  const position: WirePosition = known ?? { $typeName: 'parley.v1.Position', epoch: 0, n: 0 }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag === 0x08 || tag === 0x10) seen = from.again(seen, tag >>> 3)
    if (tag === 0x08) position.epoch = from.uint32(end)
    else if (tag === 0x10) position.n = from.uint32(end)
    else from.other(tag, 2, end)
  }
  return position
}

function readEmpty(from: ProtoReader, end: number): Empty {
  while (from.at < end) from.other(from.tag(end), 0, end)
  return { $typeName: 'parley.v1.Empty' }
}

function readVerdict(from: ProtoReader, end: number): Verdict {
  const start = from.mark()
  const verdict: Verdict = {
    $typeName: 'parley.v1.Verdict',
    conv: 0,
    k: 0,
    rev: 0,
    outcome: { case: undefined },
    tag: NO_BYTES,
  }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    switch (tag) {
      case 0x08:
        seen = from.again(seen, 1)
        verdict.conv = from.uint32(end)
        break
      case 0x10:
        seen = from.again(seen, 2)
        verdict.k = from.uint32(end)
        break
      case 0x18:
        seen = from.again(seen, 3)
        verdict.rev = from.uint32(end)
        break
      case 0x22: {
        seen = from.again(seen, 4)
        const known = verdict.outcome.case === 'sequenced' ? verdict.outcome.value : undefined
        verdict.outcome = { case: 'sequenced', value: readPosition(from, from.end(end), known) }
        break
      }
      case 0x2a:
        seen = from.again(seen, 5)
        verdict.outcome = { case: 'held', value: readEmpty(from, from.end(end)) }
        break
      case 0x42:
        seen = from.again(seen, 8)
        verdict.outcome = { case: 'safe', value: readEmpty(from, from.end(end)) }
        break
      case 0x6a:
        seen = from.again(seen, 13)
        verdict.tag = from.view(end)
        break
      default:
        from.back(start)
        return from.rest(VerdictSchema, end)
    }
  }
  return verdict
}

function readEntries(from: ProtoReader, end: number): Entries {
  const run: Entries = {
    $typeName: 'parley.v1.Entries',
    conv: 0,
    entry: [],
    headHash: NO_BYTES,
    page: false,
    headEpoch: 0,
    headN: 0,
  }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    switch (tag) {
      case 0x08:
        seen = from.again(seen, 1)
        run.conv = from.uint32(end)
        break
      case 0x12:
        from.count()
        run.entry.push(from.view(end))
        break
      case 0x1a:
        seen = from.again(seen, 3)
        run.headHash = from.view(end)
        break
      case 0x20:
        seen = from.again(seen, 4)
        run.page = from.bool(end)
        break
      case 0x28:
        seen = from.again(seen, 5)
        run.headEpoch = from.uint32(end)
        break
      case 0x30:
        seen = from.again(seen, 6)
        run.headN = from.uint32(end)
        break
      case 0x3a:
        seen = from.again(seen, 7)
        run.base = readPosition(from, from.end(end), run.base)
        break
      default:
        from.other(tag, 7, end)
    }
  }
  return run
}

/** Fields of bytes are views into `bytes`. */
export function readHomeFrame(bytes: Uint8Array, itemsMax: number): HomeFrame {
  const from = new ProtoReader(bytes, itemsMax)
  const end = bytes.length
  const refusals: Uint8Array[] = []
  const frame: HomeFrame = {
    $typeName: 'parley.v1.HomeFrame',
    names: [],
    verdicts: [],
    entries: [],
    behind: [],
    registers: [],
    notices: [],
    pong: 0,
    moves: [],
  }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag === 0x4a || (tag >= 0x0a && tag <= 0x32 && (tag & 7) === 2)) from.count()
    switch (tag) {
      case 0x0a:
        frame.names.push(from.message(ConversationNameSchema, end))
        break
      case 0x12:
        frame.verdicts.push(readVerdict(from, from.end(end)))
        break
      case 0x1a:
        frame.entries.push(readEntries(from, from.end(end)))
        break
      case 0x22:
        frame.behind.push(from.message(BehindSchema, end))
        break
      case 0x2a:
        frame.registers.push(from.message(RegisterUpdateSchema, end))
        break
      case 0x32:
        frame.notices.push(from.message(NoticeSchema, end))
        break
      case 0x38:
        seen = from.again(seen, 7)
        frame.pong = from.uint32(end)
        break
      case 0x42:
        if (refusals.length > 0) from.count()
        refusals.push(from.piece(RefusalSchema, end))
        break
      case 0x4a:
        frame.moves.push(from.message(HostMovedSchema, end))
        break
      default:
        from.other(tag, 9, end)
    }
  }
  if (refusals.length > 0) frame.refusal = merged(RefusalSchema, refusals)
  return frame
}
