// The log of one conversation at a scripted home: numbered like a host's, and moved like one.
import {
  type Cut,
  NOWHERE,
  nextPlace,
  openHostRegister,
  type Position,
  readHeader,
  type SignedRecord,
  type UserId,
} from '#protocol'

export type Log = {
  readonly genesis: Uint8Array
  readonly members: readonly UserId[]
  readonly entries: Uint8Array[]
  /** Where it moved to another host, as a home tells it. */
  readonly moves: SignedRecord[]
  readonly cuts: Cut[]
  readonly numbered: Map<string, { at: Position; tag: Uint8Array }>
  readonly last: Map<string, number>
}

export function newLog(genesis: Uint8Array, members: readonly UserId[]): Log {
  return { genesis, members, entries: [], moves: [], cuts: [], numbered: new Map(), last: new Map() }
}

export function headOf({ entries }: Log): Position {
  const last = entries.at(-1)
  return last ? readHeader(last).at : NOWHERE
}

export function placeAfter(log: Log): Position {
  return nextPlace(headOf(log), log.cuts)
}

/** Another host: what lies behind the register's cut is void. */
export function moveLog(log: Log, record: SignedRecord, nowMs: number): Position {
  const register = openHostRegister(record, nowMs)
  log.moves.push(record)
  log.cuts.push(register)
  const kept = log.entries.filter((entry) => readHeader(entry).at <= register.cut)
  log.entries.splice(0, log.entries.length, ...kept)
  for (const [name, { at }] of log.numbered) {
    if (at <= register.cut) continue
    log.numbered.delete(name)
    const [author, k] = name.split(' ') as [string, string]
    log.last.set(author, Math.min(log.last.get(author)!, Number(k) - 1))
  }
  return register.cut
}
