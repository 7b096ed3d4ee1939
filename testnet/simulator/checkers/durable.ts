// What is said must be durable at the moment it is said: the checks that look at every single acknowledgement, so that
// an early one is found even if nothing crashes before it would have come true.
import type { ConvId, ItemKind } from '#protocol'
import { EPOCH, epochOf, whereabouts } from './moved.ts'
import { short } from './names.ts'
import { type Between, type Checker, type Outside, silent, type Told } from './types.ts'

export const SUBMISSION_STATE: typeof ItemKind.SUBMISSION_STATE = 3
export const LOG: typeof ItemKind.LOG = 4
export const LOG_STATE: typeof ItemKind.LOG_STATE = 5
export const SAFE: typeof ItemKind.SAFE = 6

/** Kinds of items that something can be judged by. */
export const JUDGED_ITEMS: ReadonlySet<number> = new Set<number>([SUBMISSION_STATE, LOG, LOG_STATE, SAFE])

export const placeOf = (entry: Uint8Array): number => {
  const view = new DataView(entry.buffer, entry.byteOffset, entry.byteLength)
  return view.getUint32(2) * EPOCH + view.getUint32(6)
}
const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')
export const entryKey = (at: number): string => `e${hex(at, 14)}`
export const heldKey = (member: number, k: number): string => `r${hex(member, 8)}01${hex(1, 8)}${hex(1, 8)}${hex(k, 8)}`

export const authorKey = (member: number, k: number): string => `k${member} ${k}`

/** Promise 1, where it is made: verdicts and entries for devices, acknowledgements between regions. */
export function toldIsDurable(outside: Outside): Checker {
  const { nameOf, membersOf, kept } = outside
  const { hostAt, regionsOf, everOf, has, hasFor } = whereabouts(outside)
  const bad: string[] = []
  /** Up to which k of an author a region has everything. */
  const whole = new Map<string, number>()

  function judge({ what, home, user, conv, k, at }: Told): string | undefined {
    const member = membersOf(conv).indexOf(user)
    // What is numbered in the commit that would keep it is told both at once.
    const isNumbered = (): boolean => everOf(conv).some((region) => kept(region, conv, authorKey(member, k)))
    if (what === 'held' && !kept(home, conv, heldKey(member, k)) && !isNumbered())
      return `${nameOf(user)} is told that k ${k} is held, and the disk of ${nameOf(home)} has no such thing`
    const host = what === 'sequenced' || what === 'entry' ? hostAt(conv, epochOf(at)) : undefined
    if (host && !kept(host, conv, entryKey(at)))
      return `${nameOf(user)} is told of number ${at % EPOCH}, which the disk of its host ${nameOf(host)} lacks`
    if (what !== 'safe') return undefined
    const lacks = lacking(conv, member, k)
    return lacks && `${nameOf(user)} is told that k ${k} is safe, and ${lacks}`
  }

  /** A member region that has never kept one of an author's k, up to the last one. */
  function lacking(conv: ConvId, member: number, upTo: number): string | undefined {
    for (const user of membersOf(conv)) {
      const name = `${short(user)} ${short(conv)} ${member}`
      for (let k = (whole.get(name) ?? 0) + 1; k <= upTo; k++) {
        if (!hasFor(user, conv, authorKey(member, k))) return `the disk of the home of ${nameOf(user)} lacks k ${k}`
        whole.set(name, k)
      }
    }
    return undefined
  }

  function judgeItem({ from, to, conv, item }: Between): string | undefined {
    const what = `${nameOf(from)} tells ${nameOf(to)}`
    if (item.kind === SUBMISSION_STATE) {
      const { author, last } = item.value
      const isTaken = last === 0 || !author || has(from, conv, authorKey(author.member, last))
      return isTaken ? undefined : `${what} that it has taken k ${last}, and its disk lacks it`
    }
    if (item.kind !== LOG_STATE && item.kind !== SAFE && item.kind !== LOG) return undefined
    if (item.kind === LOG) {
      const lacks = item.value.entry.map(placeOf).find((at) => !has(from, conv, entryKey(at)))
      return lacks === undefined ? undefined : `${what} of number ${lacks % EPOCH}, which its disk lacks`
    }
    const { epoch, n } = item.value
    const at = epoch * EPOCH + n
    const judged = item.kind === SAFE ? regionsOf(conv) : [from]
    for (const region of n === 0 ? [] : judged)
      if (!has(region, conv, entryKey(at)))
        return `${what} that ${n} is there, and the disk of ${nameOf(region)} lacks it`
    return undefined
  }

  const note = (wrong: string | undefined): void => {
    if (wrong) bad.push(wrong)
  }
  return {
    ...silent,
    id: 'told-is-durable',
    explain: 'what a home says to a device, and a region to another, is on the disks that it speaks of at that moment',
    told: (told) => note(judge(told)),
    between: (between) => note(judgeItem(between)),
    check: () => bad,
  }
}

const hexOf = (tag: Uint8Array | undefined): string => (tag ? Buffer.from(tag).toString('hex') : '')

/** What a device lets out: submissions that it has stored, always the same, and cursors of what it has taken. */
export function sentIsDurable({ nameOf, cursorOf, slotOf }: Outside): Checker {
  const bad: string[] = []
  const bytes = new Map<string, string>()
  const tags = new Map<string, string>()
  /** The highest k of somebody that a home has called safe. */
  const safe = new Map<string, number>()
  /** What a device has heard of, and not that it is safe. */
  const unsafe = new Map<string, Set<number>>()
  return {
    ...silent,
    id: 'sent-is-durable',
    explain:
      'a device has stored what it sends: cursors, and of every k and rev always the same bytes, until it is safe',
    told({ what, user, conv, k }) {
      if (what !== 'safe') return
      const name = `${short(user)} ${short(conv)}`
      safe.set(name, Math.max(k, safe.get(name) ?? 0))
    },
    observe(user, event) {
      if (event.type !== 'state') return
      const name = `${short(user)} ${short(event.conv)}`
      const waiting = unsafe.get(name) ?? new Set()
      unsafe.set(name, waiting.add(event.k))
      for (const k of waiting) {
        const isSafe = k <= (safe.get(name) ?? 0)
        if (!isSafe && slotOf(user, event.conv, k)) continue
        waiting.delete(k)
        if (!isSafe) bad.push(`${nameOf(user)} has dropped k ${k}, which is not safe`)
      }
    },
    sent(sent) {
      const who = nameOf(sent.user)
      if (sent.what === 'cursor') {
        const durable = cursorOf(sent.user, sent.conv)
        if (sent.at > durable)
          bad.push(`${who} acknowledges ${sent.at % 2 ** 32} and has only ${durable % 2 ** 32} durably`)
        return
      }
      const { user, conv, k, rev, kind, tag, body } = sent
      const stored = slotOf(user, conv, k)
      if (!stored || (tag !== hexOf(stored.tag) && tag !== hexOf(stored.skipTag)))
        bad.push(`${who} sends k ${k}, which it has not stored`)
      const content = `${short(user)} ${short(conv)} ${k} ${kind}`
      const form = `${content} ${rev}`
      if ((bytes.get(form) ?? body) !== body) bad.push(`${who} sends k ${k} rev ${rev} with other bytes than before`)
      bytes.set(form, body)
      if ((tags.get(content) ?? tag) !== tag) bad.push(`${who} sends k ${k} with another tag than before`)
      tags.set(content, tag)
    },
    check: () => bad,
  }
}
