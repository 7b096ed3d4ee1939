// Promise 4: a process whose disk another one has taken over may still say what was true before, and nothing else.
import type { ConvId, RegionId } from '#protocol'
import { authorKey, entryKey, heldKey, LOG, LOG_STATE, placeOf, SAFE, SUBMISSION_STATE } from './durable.ts'
import { EPOCH, epochOf, whereabouts } from './moved.ts'
import { type Between, type Checker, type Outside, silent, type Told } from './types.ts'

export function deposed(outside: Outside): Checker {
  const { nameOf, membersOf, kept, count } = outside
  const { hostAt, hasMoved } = whereabouts(outside)
  const bad: string[] = []

  function judge({ what, home, user, conv, k, at, deposedAt }: Told): void {
    if (deposedAt === undefined) return
    const member = membersOf(conv).indexOf(user)
    const who = `${nameOf(home)}, deposed,`
    count(`deposed says ${what}`)
    if (what === 'final' || what === 'stale') bad.push(`${who} refuses k ${k} of ${nameOf(user)}: ${what}`)
    if (
      what === 'held' &&
      !kept(home, conv, heldKey(member, k), deposedAt) &&
      !numbered(home, conv, member, k, deposedAt)
    )
      bad.push(`${who} tells ${nameOf(user)} that it holds k ${k}, which came later`)
    // What another region has numbered is pushed on before it is committed here.
    const isOwn = at > 0 && hostAt(conv, epochOf(at)) === home
    if (isOwn && (what === 'sequenced' || what === 'entry') && !kept(home, conv, entryKey(at), deposedAt))
      bad.push(`${who} tells ${nameOf(user)} of number ${at % EPOCH}, which came later`)
  }

  /** Of what another region handed over the disk does not tell. */
  const had = (region: RegionId, conv: ConvId, key: string, before: number): boolean =>
    hasMoved(conv) || kept(region, conv, key, before)
  const numbered = (region: RegionId, conv: ConvId, member: number, k: number, before: number): boolean =>
    had(region, conv, authorKey(member, k), before)

  function judgeItem({ from, to, conv, item, deposedAt }: Between): void {
    if (deposedAt === undefined) return
    const what = `${nameOf(from)}, deposed, tells ${nameOf(to)}`
    count('deposed sends an item')
    if (item.kind === SUBMISSION_STATE) {
      const { author, last, verdict } = item.value
      if (last > 0 && author && !numbered(from, conv, author.member, last, deposedAt))
        bad.push(`${what} that it has taken k ${last}, which came later`)
      if (verdict.case === 'final' || verdict.case === 'stale') bad.push(`${what} that it refuses: ${verdict.case}`)
    }
    if (item.kind === LOG) {
      const late = item.value.entry.map(placeOf).find((at) => !had(from, conv, entryKey(at), deposedAt))
      if (late !== undefined) bad.push(`${what} of number ${late % EPOCH}, which came later`)
    }
    if (item.kind === LOG_STATE || item.kind === SAFE) {
      const { epoch, n } = item.value
      if (n > 0 && !had(from, conv, entryKey(epoch * EPOCH + n), deposedAt))
        bad.push(`${what} that it has ${n}, which came later`)
    }
  }

  return {
    ...silent,
    id: 'deposed',
    explain: 'a deposed owner of a disk cannot append, acknowledge or refuse',
    told: judge,
    between: judgeItem,
    check: () => bad,
  }
}
