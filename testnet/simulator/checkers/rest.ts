// Promises 5 and 6: after the last fault everything comes to rest, nothing waits any more, and nothing has grown.
import type { ConvId, RegionId, UserId } from '#protocol'
import { type Checker, type DeviceState, type Final, type Outside, type RelayState, silent } from './types.ts'

/** Promise 5. */
export function converges({ nameOf, membersOf }: Outside): Checker {
  return {
    ...silent,
    id: 'converges',
    explain: 'after the faults have healed nothing waits any more: outboxes, feeds, inboxes',
    check({ devices, relays }: Final) {
      const gone = new Set(devices.filter((d) => d.fate === 'gone').map((d) => d.user))
      const alive = devices.filter((d) => d.fate === 'alive')
      return [...relays.flatMap((relay) => undrained(relay, gone, nameOf, membersOf)), ...alive.flatMap(unfinished)]
    },
  }
}

function undrained(
  { name, rows }: RelayState,
  gone: ReadonlySet<UserId>,
  nameOf: (id: UserId | RegionId) => string,
  membersOf: (conv: ConvId) => readonly UserId[],
): string[] {
  const bad: string[] = []
  for (const [partition, keys] of rows) {
    const of = partition.slice(2)
    for (const key of keys.keys()) {
      if (partition[1] !== '/') continue
      // What a device that never comes back is owed stays.
      const owed = partition[0] === 'c' && membersOf(of as ConvId).some((user) => gone.has(user))
      if (partition[0] === 'i' && !gone.has(of as UserId)) bad.push(`${name}: inbox row of ${nameOf(of as UserId)}`)
      if (partition[0] === 'f' && key !== '!')
        bad.push(`${name}: lag row to ${nameOf(of as RegionId)} ${key.slice(60)}`)
      if ((key[0] === 'e' || key[0] === 'b') && partition[0] === 'c' && !owed)
        bad.push(`${name}: entry ${Number.parseInt(key.slice(7), 16)} of ${of.slice(0, 12)} is kept`)
      if (key[0] === 'r' && partition[0] === 'c')
        bad.push(`${name}: held submission ${Number.parseInt(key.slice(-8), 16)} of ${of.slice(0, 12)}`)
    }
  }
  return bad
}

function unfinished(device: DeviceState): string[] {
  const bad: string[] = []
  for (const slot of device.outbox) if (slot.state !== 'done') bad.push(`${device.name}: k ${slot.k} is ${slot.state}`)
  for (const m of device.messages) {
    if (m.kind === 'unreadable' || m.kind === 'gone') bad.push(`${device.name}: ${m.author} k ${m.k} is ${m.kind}`)
    if (m.status === 'waiting' || m.status === 'held') bad.push(`${device.name}: k ${m.k} shows as ${m.status}`)
  }
  return bad
}

/** What each side knows of how far the other has everything, and has read. */
export function marks({ nameOf, membersOf, cursorOf }: Outside): Checker {
  const bad: string[] = []
  return {
    ...silent,
    id: 'marks',
    explain: 'each side knows that the other has everything, and believes no mark that the other has not made',
    observe(user, event) {
      if (event.type !== 'delivered' && event.type !== 'read') return
      if (event.upTo > cursorOf(event.user, event.conv))
        bad.push(`${nameOf(user)} is told ${event.type} of something that ${nameOf(event.user)} does not have`)
    },
    check({ devices }) {
      const alive = devices.filter((d) => d.fate === 'alive')
      return [...bad, ...alive.flatMap((device) => marksOf(device, alive, membersOf))]
    },
  }
}

function marksOf(device: DeviceState, alive: readonly DeviceState[], membersOf: Outside['membersOf']): string[] {
  const bad: string[] = []
  for (const { conv, delivered, peerRead } of device.conversations) {
    const members = membersOf(conv)
    const other = alive.find((d) => d.user !== device.user && members.includes(d.user))
    const theirs = other?.conversations.find((c) => c.conv === conv)
    if (!other || !theirs) continue
    const own = device.messages.filter(
      (m) => m.conv === conv && m.author.startsWith(`${members.indexOf(device.user)}.`),
    )
    // What was on its way to a session that broke is told again when the device comes back to the conversation.
    const newest = Math.max(0, ...own.filter((m) => m.status === 'sequenced').map((m) => m.at))
    if (delivered < newest && device.sessions === 1)
      bad.push(`${device.name} does not know that ${other.name} has everything`)
    if (peerRead > theirs.ownRead || delivered > theirs.cursor)
      bad.push(`${device.name} believes that ${other.name} has read or got more than it has`)
  }
  return bad
}

/** Promise 6: journals are trimmed, windows are empty, conversations leave the memory. */
export function bounded(limits: {
  readonly records: number
  readonly conversations: number
  readonly keys: number
}): Checker {
  return {
    ...silent,
    id: 'bounded',
    explain: 'at rest a relay holds little in memory, and its journal is short',
    check({ relays }) {
      const bad: string[] = []
      for (const { name, records, memory } of relays) {
        if (records > limits.records) bad.push(`${name}: ${records} records in the journal`)
        if (!memory) continue
        if (memory.windowItems > 0) bad.push(`${name}: ${memory.windowItems} items wait in windows`)
        if (memory.conversations > limits.conversations) bad.push(`${name}: ${memory.conversations} conversations`)
        if (memory.keys > limits.keys) bad.push(`${name}: ${memory.keys} keys in the store's memory`)
      }
      return bad
    },
  }
}
