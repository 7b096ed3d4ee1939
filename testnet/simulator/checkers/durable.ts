// What is said must be durable at the moment it is said: the checks that look at every single acknowledgement, so that
// an early one is found even if nothing crashes before it would have come true.
import type { ConvId, RegionId, UserId } from '#protocol'
import { type Checker, type Outside, silent, type Told } from './types.ts'

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')
const entryKey = (at: number): string => `e${hex(at, 14)}`
const heldKey = (member: number, k: number): string => `r${hex(member, 8)}01${hex(1, 8)}${hex(1, 8)}${hex(k, 8)}`

/** Promise 1, at the home: `held`, `sequenced`, `safe` and every entry that leaves. */
export function toldIsDurable({ nameOf, homeOf, membersOf, kept }: Outside): Checker {
  const bad: string[] = []
  const places = new Map<string, number>()
  const placeOf = (user: UserId, conv: ConvId, k: number): string => `${user} ${conv} ${k}`
  const hostOf = (conv: ConvId): RegionId => homeOf(membersOf(conv)[0]!)

  function judge({ what, user, conv, k, at }: Told): string | undefined {
    switch (what) {
      case 'held': {
        const member = membersOf(conv).indexOf(user)
        if (kept(homeOf(user), conv, heldKey(member, k))) return undefined
        return `${nameOf(user)} is told that k ${k} is held, and the disk of ${nameOf(homeOf(user))} has no such thing`
      }
      case 'sequenced':
      case 'entry': {
        const host = hostOf(conv)
        if (kept(host, conv, entryKey(at))) return undefined
        return `${nameOf(user)} is told of number ${at % 2 ** 32}, which the disk of its host ${nameOf(host)} lacks`
      }
      case 'safe':
        return safeEverywhere(user, conv, k)
      default:
        return undefined
    }
  }

  function safeEverywhere(user: UserId, conv: ConvId, upTo: number): string | undefined {
    for (const region of new Set(membersOf(conv).map(homeOf))) {
      for (let k = upTo; k > 0; k--) {
        const at = places.get(placeOf(user, conv, k))
        if (at !== undefined && !kept(region, conv, entryKey(at)))
          return `${nameOf(user)} is told that k ${upTo} is safe, and the disk of ${nameOf(region)} lacks k ${k}`
      }
    }
    return undefined
  }

  return {
    ...silent,
    id: 'told-is-durable',
    explain: 'what a home says to a device is on the disks that it speaks of, at that moment',
    told(told) {
      const { what, user, conv, k, at, member } = told
      if (what === 'sequenced' || what === 'entry')
        places.set(placeOf(member === undefined ? user : membersOf(conv)[member]!, conv, k), at)
      const wrong = judge(told)
      if (wrong) bad.push(wrong)
    },
    check: () => bad,
  }
}

/** What a device lets out: submissions that it has stored, always the same, and cursors of what it has taken. */
export function sentIsDurable({ nameOf, cursorOf, storedTagOf }: Outside): Checker {
  const bad: string[] = []
  const bytes = new Map<string, string>()
  const tags = new Map<string, string>()
  return {
    ...silent,
    id: 'sent-is-durable',
    explain: 'a device has stored what it sends: cursors, and of every k and rev always the same bytes',
    sent(sent) {
      const who = nameOf(sent.user)
      if (sent.what === 'cursor') {
        const durable = cursorOf(sent.user, sent.conv)
        if (sent.at > durable)
          bad.push(`${who} acknowledges ${sent.at % 2 ** 32} and has only ${durable % 2 ** 32} durably`)
        return
      }
      const { user, conv, k, rev, kind, tag, body } = sent
      const stored = storedTagOf(user, conv, k)
      if (!stored || (tag !== stored.tag && tag !== stored.skipTag))
        bad.push(`${who} sends k ${k}, which it has not stored`)
      const form = `${user} ${conv} ${k} ${kind} ${rev}`
      if ((bytes.get(form) ?? body) !== body) bad.push(`${who} sends k ${k} rev ${rev} with other bytes than before`)
      bytes.set(form, body)
      const content = `${user} ${conv} ${k} ${kind}`
      if ((tags.get(content) ?? tag) !== tag) bad.push(`${who} sends k ${k} with another tag than before`)
      tags.set(content, tag)
    },
    check: () => bad,
  }
}
