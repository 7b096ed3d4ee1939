// What checkers look at: the state of the whole network at the end, and its sizes at every moment.
import { all } from '#client/rules'
import type { Final } from './checkers/index.ts'
import { TINY_RULES } from './relay-node.ts'
import type { World } from './world.ts'

/** Of a window: its limit, and one commit's share of every stream. */
const WINDOW_MOST = TINY_RULES.windowItems + 40
/** Conversations that are in the middle of something stay beyond the limit. */
const CONVERSATIONS_MOST = TINY_RULES.conversations + 40
/** What one turn may add when the backlog is just below its limit. */
const LINK_MOST_BYTES = TINY_RULES.linkBacklogBytes + 64 * 1024
const SOCKET_MOST_BYTES = TINY_RULES.sessionBacklogBytes + 64 * 1024
const KEYS_MOST = 2_000
const RECORDS_MOST = 600

/** What a relay may still hold when everything has come to rest. */
export const LIMITS = { records: 24, conversations: TINY_RULES.conversations, keys: 800 } as const

export function finalOf(world: World): Final {
  return {
    devices: world.devices.map(({ person, home, db, fate, expired, sessions }) => ({
      user: person.userId,
      name: person.name,
      region: home.is.id,
      fate,
      expired,
      sessions,
      messages: all(db, 'messages'),
      entries: all(db, 'entries'),
      outbox: all(db, 'outbox'),
      conversations: all(db, 'conversations'),
    })),
    relays: [...world.regions.values()]
      .filter(({ isGone }) => !isGone)
      .map(({ is, disk, serving }) => {
        const memory = serving?.inspect()
        return {
          region: is.id,
          name: is.name,
          rows: disk.rows,
          records: disk.records.size,
          memory: memory && {
            conversations: memory.conversations,
            windowItems: [...world.regions.keys()].reduce(
              (sum, other) => sum + (other === is.id ? 0 : memory.windowItems(other)),
              0,
            ),
            keys: serving?.store?.stats().memoryKeys ?? 0,
          },
        }
      }),
  }
}

/** Promise 6, while it runs: everything stays as small as it is meant to be. */
export function watch(world: World): void {
  const tooMuch = (name: string, what: string, size: number, most: number): void => {
    if (size > most) world.failures.push(`${name} holds ${what} beyond ${most}`)
  }
  for (const { is, disk, nodes } of world.regions.values()) {
    tooMuch(is.name, 'records in its journal', disk.records.size, RECORDS_MOST)
    for (const node of nodes) {
      const memory = node.inspect()
      if (!memory) continue
      tooMuch(node.name, 'conversations in memory', memory.conversations, CONVERSATIONS_MOST)
      tooMuch(node.name, 'keys in memory', node.store?.stats().memoryKeys ?? 0, KEYS_MOST)
      for (const other of world.regions.keys())
        if (other !== is.id) tooMuch(node.name, 'items in a window', memory.windowItems(other), WINDOW_MOST)
    }
  }
  tooMuch('a link', 'bytes', world.links.backlogMost, LINK_MOST_BYTES)
  for (const { person, backlogMost } of world.devices)
    if (backlogMost > SOCKET_MOST_BYTES)
      tooMuch(`the socket of ${person.name}`, 'bytes', backlogMost, SOCKET_MOST_BYTES)
}
