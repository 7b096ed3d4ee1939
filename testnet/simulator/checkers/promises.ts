// Promises 1, 2 and 3, judged from what devices were told, what they show, and what their databases and the relays'
// disks hold. Nothing is shared with the rules that are judged; only types are imported.
import { hash as sha256 } from 'node:crypto'
import type { EntryRow, MessageRow } from '#client/rules'
import type { ConvId, UserId } from '#protocol'
import { EPOCH, isCutOff, openedAt, whereabouts } from './moved.ts'
import { short } from './names.ts'
import { type Checker, type DeviceState, type Final, type Outside, type Said, silent } from './types.ts'

const HEADER_KIND_AT = 1
const KIND_SKIP = 2

const textOf = ({ body }: MessageRow): string => Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString()
const placeText = (at: number): string => `${Math.floor(at / EPOCH)}.${at % EPOCH}`
const nameOf = (user: UserId, conv: ConvId, k: number): string => `${short(user)} ${short(conv)} ${k}`

/** Number of the member and k, from the fixed layout of a header. */
function authorOf(header: Uint8Array): { member: number; k: number; kind: number; at: number } {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength)
  return {
    kind: view.getUint8(HEADER_KIND_AT),
    at: view.getUint32(2) * EPOCH + view.getUint32(6),
    member: view.getUint32(10),
    k: view.getUint32(23),
  }
}

/** Promise 1. */
export function nothingLost({ nameOf: personOf, membersOf }: Outside): Checker {
  const said: Said[] = []
  const cancelled = new Set<string>()
  /** The best that a device was told of a k, and where it stands. */
  const acknowledged = new Map<string, { at: number; states: Set<string> }>()
  const shown = new Map<DeviceState, Map<string, MessageRow[]>>()
  const shownBy = (device: DeviceState, s: Said): MessageRow[] => {
    let texts = shown.get(device)
    if (!texts) {
      texts = new Map()
      for (const m of device.messages) {
        if (m.kind !== 'text') continue
        const name = `${short(m.conv)} ${textOf(m)}`
        const known = texts.get(name)
        if (known) known.push(m)
        else texts.set(name, [m])
      }
      shown.set(device, texts)
    }
    return texts.get(`${short(s.conv)} ${s.text}`) ?? []
  }

  function checkOne(s: Said, { devices }: Final): string[] {
    const bad: string[] = []
    const what = `"${s.text.slice(0, 40)}" (k ${s.k})`
    const told = acknowledged.get(nameOf(s.by, s.conv, s.k))
    const author = devices.find((d) => d.user === s.by)!
    const own = author.fate === 'alive' ? shownBy(author, s)[0] : undefined
    if (author.fate === 'alive' && !own) return [`${author.name} lacks its own ${what}`]
    const skipped = own?.status === 'cancelled' || own?.status === 'failed'
    const mayBeSkipped = cancelled.has(nameOf(s.by, s.conv, s.k)) || told?.states.has('failed') === true
    if (skipped && !mayBeSkipped) bad.push(`${author.name}: ${what} became ${own!.status}, which nobody asked for`)
    const reader = devices.find((d) => d.user === s.to)!
    if (reader.fate !== 'alive') return bad
    const seen = shownBy(reader, s)
    if (skipped) return seen.length > 0 ? [...bad, `${reader.name} has ${what}, which was ${own!.status}`] : bad
    const owed = author.fate === 'alive' || (told !== undefined && !mayBeSkipped)
    if (owed && seen.length === 0) {
      const states = told ? [...told.states].join(', ') : 'nothing'
      bad.push(`${reader.name} lacks ${what}; ${personOf(s.by)} was told ${states}`)
    }
    for (const m of [own, ...seen]) {
      if (m && told?.at && !skipped && m.at !== told.at)
        bad.push(`${what} was told to be ${placeText(told.at)} and is ${placeText(m.at)}`)
    }
    return bad
  }

  return {
    ...silent,
    id: 'nothing-lost',
    explain: 'what a home acknowledged is in the history of every reader, even if its author never comes back',
    said: (s) => said.push(s),
    cancelled: (user, conv, k) => void cancelled.add(nameOf(user, conv, k)),
    observe(user, event) {
      if (event.type !== 'state') return
      const name = nameOf(user, event.conv, event.k)
      const known = acknowledged.get(name) ?? { at: 0, states: new Set() }
      known.states.add(event.state)
      if (event.state === 'sequenced') known.at = event.at
      acknowledged.set(name, known)
    },
    check(final) {
      const bad = said.flatMap((s) => checkOne(s, final))
      for (const device of final.devices) {
        if (device.fate !== 'alive') continue
        for (const conv of new Set(device.entries.map((e) => e.conv)))
          bad.push(...runsOfK(device, conv, membersOf(conv).length))
      }
      return bad
    },
  }
}

/** Every author's k are dense and ascending in the log. */
function runsOfK(device: DeviceState, conv: ConvId, members: number): string[] {
  const bad: string[] = []
  const last = new Map<number, number>()
  for (const { header } of logOf(device, conv)) {
    const { member, k } = authorOf(header)
    if (member >= members) bad.push(`${device.name}: an entry of member ${member}`)
    if (k !== (last.get(member) ?? 0) + 1) bad.push(`${device.name}: k ${k} of ${member} after ${last.get(member)}`)
    last.set(member, k)
  }
  return bad
}

const logs = new WeakMap<DeviceState, Map<ConvId, EntryRow[]>>()

function logOf(device: DeviceState, conv: ConvId): EntryRow[] {
  let own = logs.get(device)
  if (!own) {
    own = Map.groupBy(device.entries, (entry) => entry.conv)
    for (const log of own.values()) log.sort((a, b) => a.at - b.at)
    logs.set(device, own)
  }
  return own.get(conv) ?? []
}

/** Promise 2. */
export function noDuplicate({ nameOf: personOf, membersOf, movesOf }: Outside): Checker {
  const shown = new Map<string, string>()
  const numbered = new Map<string, { at: number; tag: string }>()
  const bad: string[] = []
  return {
    ...silent,
    id: 'no-duplicate',
    explain: 'one (conversation, device, k) has one content and one number, whatever is retried',
    told({ what, user, conv, k, at, tag, member }) {
      if (what !== 'sequenced' && what !== 'entry') return
      const name = nameOf(member === undefined ? user : membersOf(conv)[member]!, conv, k)
      const known = numbered.get(name)
      // What a cut has made void gets another place, and perhaps becomes a skip; who has not heard of it may be told the old.
      const [older, newer] = known && known.at > at ? [at, known.at] : [known?.at ?? at, at]
      const isVoid = older < newer && isCutOff(older, movesOf(conv))
      if (known && !isVoid && (known.at !== at || known.tag !== tag))
        bad.push(
          `${personOf(user)} is told that k ${k} is ${placeText(at)} tag ${tag}, and it was ${placeText(known.at)} tag ${known.tag}`,
        )
      if (!known || at >= known.at) numbered.set(name, { at, tag })
    },
    observe(user, event) {
      if (event.type !== 'message') return
      const { conv, member, k, at, body } = event.message
      const name = `${short(user)} ${short(conv)} ${member} ${k}`
      const what = `${at} ${Buffer.from(body).toString()}`
      const known = shown.get(name)
      if (known !== undefined && !event.late) bad.push(`shown twice: member ${member} k ${k}: ${known} | ${what}`)
      shown.set(name, what)
    },
    check({ devices }) {
      for (const device of devices) {
        if (device.fate !== 'alive') continue
        const texts = new Map<string, number>()
        for (const m of device.messages) if (m.kind === 'text') texts.set(textOf(m), (texts.get(textOf(m)) ?? 0) + 1)
        for (const [text, count] of texts) if (count > 1) bad.push(`${device.name} has "${text}" ${count} times`)
      }
      return bad
    },
  }
}

/** Promise 3. */
export function oneOrder(outside: Outside): Checker {
  const { bytesOf, movesOf } = outside
  const { regionsOf } = whereabouts(outside)
  const last = new Map<string, number>()
  const bad: string[] = []

  function checkLog(device: DeviceState, conv: ConvId, relays: Final['relays'], longest: Map<ConvId, Log>): void {
    const rows = logOf(device, conv)
    const row = device.conversations.find((c) => c.conv === conv)!
    const moves = movesOf(conv)
    let hash: Buffer = Buffer.from(bytesOf(conv))
    let before = 0
    for (const { at, header } of rows) {
      const opened = openedAt(before, moves)
      if (opened && Buffer.compare(opened.cutHash, hash) !== 0)
        bad.push(`${device.name}: its chain has another hash where epoch ${opened.epoch} begins`)
      if (opened) hash = sha256('sha256', Buffer.concat([hash, opened.payload]), 'buffer')
      const next = opened ? opened.epoch * EPOCH + 1 : before === 0 ? EPOCH + 1 : before + 1
      if (at !== next) bad.push(`${device.name}: entry ${placeText(at)} follows ${placeText(before)}`)
      if (authorOf(header).at !== at) bad.push(`${device.name}: the header at ${placeText(at)} says another place`)
      hash = sha256('sha256', Buffer.concat([hash, header]), 'buffer')
      before = at
    }
    if (rows.length > 0 && row.cursor !== rows.at(-1)!.at) bad.push(`${device.name}: its cursor is not its last entry`)
    if (rows.length > 0 && Buffer.compare(hash, row.hash) !== 0) bad.push(`${device.name}: its chain has another hash`)
    const log = rows.map(({ header }) => header)
    const other = longest.get(conv)
    const shorter = Math.min(log.length, other?.log.length ?? 0)
    for (let i = 0; i < shorter; i++) {
      if (Buffer.compare(log[i]!, other!.log[i]!) === 0) continue
      bad.push(`${device.name} and ${other!.name} differ from entry ${i + 1} on`)
      break
    }
    if (other && device.fate === 'alive' && other.fate === 'alive' && log.length !== other.log.length)
      bad.push(`${device.name} has ${log.length} entries and ${other.name} ${other.log.length}`)
    if (!other || log.length > other.log.length) longest.set(conv, { name: device.name, log, fate: device.fate })
    if (device.fate === 'alive') checkRelays(conv, device.name, hash, relays)
  }

  /** The head row of a conversation carries the hash of its head, where a member lives. */
  function checkRelays(conv: ConvId, name: string, hash: Uint8Array, relays: Final['relays']): void {
    const homes = regionsOf(conv)
    for (const relay of relays) {
      if (!homes.includes(relay.region)) continue
      const state = relay.rows.get(`c/${conv}`)?.get('h')
      if (state && !Buffer.from(state.buffer, state.byteOffset, state.byteLength).includes(Buffer.from(hash)))
        bad.push(`${relay.name} has another head than ${name}`)
    }
  }

  return {
    ...silent,
    id: 'one-order',
    explain: 'a dense order, the same at every member, and nothing appears behind what was shown',
    observe(user, event) {
      if (event.type !== 'message' || event.late || event.message.mine) return
      const name = `${short(user)} ${short(event.message.conv)}`
      const before = last.get(name) ?? 0
      if (event.message.at <= before && !isCutOff(before, movesOf(event.message.conv)))
        bad.push(`appeared behind what was shown: ${placeText(event.message.at)} after ${placeText(before)}`)
      last.set(name, event.message.at)
    },
    check({ devices, relays }) {
      const longest = new Map<ConvId, Log>()
      for (const device of devices)
        for (const { conv } of device.conversations)
          if (!device.expired.has(conv)) checkLog(device, conv, relays, longest)
      for (const device of devices) {
        if (device.fate !== 'alive') continue
        const shown = new Set(device.messages.map((m) => `${short(m.conv)} ${m.k} ${m.at}`))
        for (const { conv, header } of device.entries) {
          const { kind, k, at } = authorOf(header)
          if (kind !== KIND_SKIP && !shown.has(`${short(conv)} ${k} ${at}`))
            bad.push(`${device.name} does not show ${placeText(at)}`)
        }
      }
      return bad
    },
  }
}

type Log = { readonly name: string; readonly log: readonly Uint8Array[]; readonly fate: 'alive' | 'gone' }
