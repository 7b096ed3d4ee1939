// How large a session may become. Everybody may set up sessions with this device as often as they like, libsignal keeps 40
// of them, and the whole record is written with each message.
import { BinaryReader } from '@bufbuild/protobuf/wire'
import { SESSION_BYTES_MAX, SESSION_STATES_MAX } from './limits.ts'

/**
 * A libsignal record, which is its current state and then the archived ones, the newest first, without the oldest if there
 * are too many or too large ones. The first stays. What was still underway under one that is gone is asked for again.
 */
export function trimRecord(packed: Uint8Array): Uint8Array {
  const reader = new BinaryReader(packed)
  let end = 0
  for (let states = 0; reader.pos < reader.len && states < SESSION_STATES_MAX; states++) {
    const [field, type] = reader.tag()
    reader.skip(type, field)
    if (states > 0 && reader.pos > SESSION_BYTES_MAX) break
    end = reader.pos
  }
  return packed.subarray(0, end)
}
