// A person's inbox has a row for a conversation only while one of their devices is behind in it, whatever the number
// of messages: the places up to which the devices have it. When all have reached the head the row goes.
import { type DeviceKey, type Manifest, NOWHERE, type Position } from '#protocol'
import { ByteReader, ByteWriter } from './bytes.ts'

export type InboxRow = {
  /** Where every device stands that is not listed. */
  base: Position
  readonly cursors: Map<string, Position>
  /** Devices that have not been told of the newest registers. */
  readonly unmarked: Set<string>
  /** Time of the newest entry, ms: newest conversations are offered first. */
  activityMs: number
}

export function deviceText(device: DeviceKey): string {
  return `${device.device}.${device.registrationEpoch}.${device.registrationVersion}`
}

export function newInboxRow(base: Position, activityMs: number): InboxRow {
  return { base, cursors: new Map(), unmarked: new Set(), activityMs }
}

export function cursorOf(row: InboxRow | undefined, device: string, head: Position): Position {
  return row ? (row.cursors.get(device) ?? row.base) : head
}

/** A cursor only moves forward. True when it did. */
export function moveCursor(row: InboxRow, device: string, to: Position): boolean {
  if (to <= (row.cursors.get(device) ?? row.base)) return false
  row.cursors.set(device, to)
  return true
}

const texts = new WeakMap<Manifest, readonly string[]>()

export function deviceTexts(manifest: Manifest): readonly string[] {
  let known = texts.get(manifest)
  if (!known) {
    known = manifest.devices.map((d) =>
      deviceText({
        device: d.number,
        registrationEpoch: d.registrationEpoch,
        registrationVersion: d.registrationVersion,
      }),
    )
    texts.set(manifest, known)
  }
  return known
}

/** Every device of the manifest has everything: the row may go. */
export function isDone(row: InboxRow, manifest: Manifest | undefined, head: Position): boolean {
  if (!manifest || row.unmarked.size > 0) return false
  for (const device of deviceTexts(manifest)) if (cursorOf(row, device, head) < head) return false
  return true
}

/** What all devices of the manifest have: entries up to here are not needed for this person any more. */
export function lowestCursor(row: InboxRow | undefined, manifest: Manifest | undefined, head: Position): Position {
  if (!row) return head
  if (!manifest) return row.base
  let low: Position = head
  for (const device of deviceTexts(manifest)) {
    const at = cursorOf(row, device, head)
    if (at < low) low = at
  }
  return low
}

/** What at least one device has: what `delivered` says. */
export function highestCursor(row: InboxRow | undefined, head: Position): Position {
  if (!row) return head
  let high: Position = NOWHERE
  for (const at of row.cursors.values()) if (at > high) high = at
  return high > row.base ? high : row.base
}

export function writeInboxRow(row: InboxRow): Uint8Array {
  const out = new ByteWriter().u8(1).u53(row.base).u53(row.activityMs).u32(row.cursors.size)
  for (const [device, at] of row.cursors) out.text(device).u53(at)
  out.u32(row.unmarked.size)
  for (const device of row.unmarked) out.text(device)
  return out.done()
}

export function readInboxRow(bytes: Uint8Array): InboxRow {
  const from = new ByteReader(bytes)
  from.u8()
  const row = newInboxRow(from.u53() as Position, from.u53())
  for (let i = from.u32(); i > 0; i--) {
    const device = from.text()
    row.cursors.set(device, from.u53() as Position)
  }
  for (let i = from.u32(); i > 0; i--) row.unmarked.add(from.text())
  return row
}
