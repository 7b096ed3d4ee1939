// What must hold of a network, judged from outside: from what devices were told, what they show, and what their
// databases hold. Nothing here is shared with the rules that are judged; only types are imported.
import type { DeviceEvent, EntryRow, MessageRow, OutboxRow } from '#client/rules'
import type { ConvId, UserId } from '#protocol'

/** What a person did: the promise to keep. */
export type Said = {
  readonly by: UserId
  readonly to: UserId
  readonly conv: ConvId
  readonly k: number
  readonly text: string
}

export type DeviceState = {
  readonly user: UserId
  readonly name: string
  readonly messages: readonly MessageRow[]
  readonly entries: readonly EntryRow[]
  readonly outbox: readonly OutboxRow[]
  /** conv -> cursor. */
  readonly cursors: ReadonlyMap<ConvId, number>
}

export type Final = {
  readonly devices: readonly DeviceState[]
  /** Commits, windows and lag rows that are left, in words; empty when drained. */
  readonly undrained: readonly string[]
}

export type Check = {
  readonly id: string
  readonly explain: string
  said(said: Said): void
  observe(device: UserId, event: DeviceEvent): void
  /** After quiescence: what is wrong, in words. */
  check(final: Final): string[]
}

const none = { said: () => {}, observe: () => {}, check: (): string[] => [] }
const textOf = (message: MessageRow): string => new TextDecoder().decode(message.body)
const ofAuthor = (author: string): string => author

/** Promise 1. */
export function nothingLost(): Check {
  const acknowledged: { device: UserId; conv: ConvId; k: number; state: string }[] = []
  const said: Said[] = []
  return {
    ...none,
    id: 'nothing-lost',
    explain: 'what a person said and a home acknowledged is in the history of every reader',
    said: (s) => said.push(s),
    observe(device, event) {
      if (event.type === 'state' && (event.state === 'held' || event.state === 'sequenced')) {
        acknowledged.push({ device, conv: event.conv, k: event.k, state: event.state })
      }
    },
    check({ devices }) {
      const bad: string[] = []
      for (const s of said) {
        for (const device of devices) {
          if (device.user !== s.by && device.user !== s.to) continue
          const found = device.messages.filter((m) => m.conv === s.conv && m.kind === 'text' && textOf(m) === s.text)
          if (found.length === 0) bad.push(`${device.name} lacks "${s.text}" (k ${s.k})`)
        }
      }
      for (const a of acknowledged) {
        const own = devices.find((d) => d.user === a.device)
        const slot = own?.outbox.find((o) => o.conv === a.conv && o.k === a.k)
        if (slot && slot.state !== 'sequenced' && slot.state !== 'done')
          bad.push(`${own!.name}: k ${a.k} was ${a.state} and ended ${slot.state}`)
      }
      return bad
    },
  }
}

/** Promise 2. */
export function noDuplicate(): Check {
  const shown = new Map<string, string>()
  const bad: string[] = []
  return {
    ...none,
    id: 'no-duplicate',
    explain: 'one (conversation, device, k) has one content and one number, whatever is retried',
    observe(device, event) {
      if (event.type !== 'message') return
      const { conv, member, k, at, body } = event.message
      const name = `${device} ${conv} ${member} ${k}`
      const what = `${at} ${new TextDecoder().decode(body)}`
      const known = shown.get(name)
      if (known !== undefined && !event.late) bad.push(`shown twice: member ${member} k ${k}: ${known} | ${what}`)
      shown.set(name, what)
    },
    check({ devices }) {
      for (const device of devices) {
        const texts = new Map<string, number>()
        for (const m of device.messages) if (m.kind === 'text') texts.set(textOf(m), (texts.get(textOf(m)) ?? 0) + 1)
        for (const [text, count] of texts) if (count > 1) bad.push(`${device.name} has "${text}" ${count} times`)
      }
      return bad
    },
  }
}

/** Promise 3. */
export function oneOrder(): Check {
  const last = new Map<string, number>()
  const bad: string[] = []
  return {
    ...none,
    id: 'one-order',
    explain: 'a dense order, the same at every member, and nothing appears behind what was shown',
    observe(device, event) {
      if (event.type !== 'message' || event.late || event.message.mine) return
      const name = `${device} ${event.message.conv}`
      if (event.message.at <= (last.get(name) ?? 0))
        bad.push(`appeared behind what was shown: ${event.message.at} after ${last.get(name)}`)
      last.set(name, event.message.at)
    },
    check({ devices }) {
      const logs = new Map<ConvId, { name: string; log: string[] }>()
      for (const device of devices) {
        for (const conv of new Set(device.entries.map((e) => e.conv))) {
          const rows = device.entries.filter((e) => e.conv === conv).sort((a, b) => a.at - b.at)
          rows.forEach((row, i) => {
            if (row.at % 2 ** 32 !== i + 1) bad.push(`${device.name}: entry ${i + 1} has number ${row.at % 2 ** 32}`)
          })
          const log = rows.map((row) => Buffer.from(row.header).toString('hex'))
          const other = logs.get(conv)
          if (!other) logs.set(conv, { name: device.name, log })
          else if (other.log.join() !== log.join()) {
            const i = log.findIndex((h, j) => h !== other.log[j])
            bad.push(
              `${device.name} and ${other.name} differ from entry ${i < 0 ? log.length + 1 : i + 1} (${log.length} and ${other.log.length})`,
            )
          }
        }
      }
      return bad
    },
  }
}

/** Promise 5. */
export function converges(): Check {
  return {
    ...none,
    id: 'converges',
    explain: 'after the faults have healed nothing waits any more: outboxes, feeds, inboxes',
    check({ devices, undrained }) {
      const bad = [...undrained]
      for (const device of devices) {
        for (const slot of device.outbox)
          if (slot.state !== 'done') bad.push(`${device.name}: k ${slot.k} is ${slot.state}`)
        for (const m of device.messages) {
          if (m.kind === 'unreadable' || m.kind === 'gone')
            bad.push(`${device.name}: ${ofAuthor(m.author)} k ${m.k} is ${m.kind}`)
        }
      }
      return bad
    },
  }
}

export const allChecks = (): Check[] => [nothingLost(), noDuplicate(), oneOrder(), converges()]
