// Reading what a profile keeps of one conversation. What has a number comes in the order of the log; what this person
// has said and has none yet comes last, in the order it was said.
import { type ConvId, NOWHERE, type Position, readGenesis, type UserId } from '#protocol'
import { HISTORY_PAGE_MAX } from './limits.ts'
import { authorText, isShown, parseAuthor } from './rules/conversation.ts'
import { messageOf } from './rules/core.ts'
import type { Message } from './rules/ports.ts'
import { all, type DbReader, type MessageRow } from './rules/schema.ts'

type Key = { readonly number: number; readonly registrationEpoch: number; readonly registrationVersion: number }

export type History = {
  /** The newest, or those before a place; ascending. */
  page(before: Position | undefined, limit: number): Message[]
  after(place: Position, limit: number): Message[]
  /** Places beyond `after` and up to `upTo` where somebody else said what cannot be read yet; ascending. */
  unread(after: Position, upTo: Position): Position[]
  headers(): Uint8Array[]
  ownOf(k: number, device: Key): MessageRow | undefined
}

export function historyPage(db: DbReader, conv: ConvId, self: UserId): History {
  const row = db.get('conversations', [conv])
  const genesis = row && readGenesis(row.genesis)
  const members: readonly UserId[] = genesis?.kind === 'direct' ? genesis.members : []
  const me = members.indexOf(self)
  const scan = (from: number, reverse: boolean, limit: number): MessageRow[] =>
    db.scan('messages', { index: 'place', prefix: [conv], from, reverse, limit })
  const shown = (rows: readonly MessageRow[]): Message[] =>
    rows.filter(isShown).map((message) => messageOf(message, members, me))

  /** Scans on until enough is found that people read. */
  const numbered = (from: Position, reverse: boolean, limit: number): Message[] => {
    const out: Message[] = []
    let next: number = from
    while (out.length < limit && next > NOWHERE) {
      const rows = scan(next, reverse, limit + 1).filter(({ at }) => at > NOWHERE)
      if (rows.length === 0) break
      out.push(...shown(rows))
      next = rows.at(-1)!.at + (reverse ? -1 : 1)
    }
    return out.slice(0, limit)
  }

  const unread = (after: Position, upTo: Position): Position[] => {
    const out: Position[] = []
    for (let next: number = after + 1; next <= upTo; ) {
      const from = next
      const rows = db.scan('unread', {
        index: undefined,
        prefix: [conv],
        from,
        reverse: false,
        limit: HISTORY_PAGE_MAX,
      })
      const within = rows.filter(({ at, author }) => at <= upTo && parseAuthor(author).member !== me)
      out.push(...within.map(({ at }) => at))
      if (rows.length < HISTORY_PAGE_MAX) break
      next = rows.at(-1)!.at + 1
    }
    return out
  }

  return {
    unread,
    page(before, wanted) {
      const limit = Math.min(wanted, HISTORY_PAGE_MAX)
      const from = before === undefined ? Number.MAX_SAFE_INTEGER : before - 1
      const out = numbered(from as Position, true, limit).reverse()
      if (before !== undefined) return out
      const waiting = db
        .scan('messages', {
          index: 'place',
          prefix: [conv, NOWHERE],
          from: undefined,
          reverse: false,
          limit: HISTORY_PAGE_MAX,
        })
        .sort((a, b) => a.k - b.k)
      return [...out, ...shown(waiting)].slice(-limit)
    },
    after: (place, wanted) => numbered((place + 1) as Position, false, Math.min(wanted, HISTORY_PAGE_MAX)),
    headers: () => all(db, 'entries', conv).map(({ header }) => header),
    ownOf: (k, device) => db.get('messages', [conv, authorText(me, { ...device, device: device.number }), k]),
  }
}
