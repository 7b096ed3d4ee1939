// Judges nothing: counts which cells of the tables of device, home and host were reached, as far as they can be seen
// from outside. A state is that of the device's own row at the moment an event comes.
import type { ConvId, UserId } from '#protocol'
import { SUBMISSION_STATE } from './durable.ts'
import { whereabouts } from './moved.ts'
import { short } from './names.ts'
import { type Checker, type Outside, type Sent, silent } from './types.ts'

const SKIP = 2

export function transitions(outside: Outside): Checker {
  const { membersOf, slotOf, count } = outside
  const { homeOf } = whereabouts(outside)
  /** Highest rev and kind that left a device, by (user, conversation, k). */
  const left = new Map<string, { rev: number; kind: number }>()
  const states = new Map<string, string>()
  const nameOf = (user: UserId, conv: ConvId, k: number): string => `${short(user)} ${short(conv)} ${k}`

  function sent(it: Sent): void {
    if (it.what === 'cursor') {
      if (it.rewind) count('device asks for an entry again')
      return
    }
    const name = nameOf(it.user, it.conv, it.k)
    const before = left.get(name)
    const state = slotOf(it.user, it.conv, it.k)?.state ?? 'none'
    const what = it.kind === SKIP ? 'a skip' : 'content'
    if (!before) count(`device ${state}: ${what} leaves`)
    else if (before.kind !== it.kind) count('device: a skip replaces its content')
    else count(it.rev > before.rev ? `device: encrypted again` : `device ${state}: ${what} leaves again`)
    left.set(name, { rev: it.rev, kind: it.kind })
  }

  return {
    ...silent,
    id: 'transitions',
    explain: 'nothing is judged',
    sent,
    heard({ what, user, conv, k }) {
      const slot = slotOf(user, conv, k)
      count(`device ${slot?.state ?? 'none'} gets ${what}`)
    },
    observe(user, event) {
      if (event.type !== 'state') return
      const name = nameOf(user, event.conv, event.k)
      count(`device ${states.get(name) ?? 'said'} -> ${event.state}`)
      states.set(name, event.state)
    },
    told({ what, user, conv }) {
      const isHost = homeOf(membersOf(conv)[0]!) === homeOf(user)
      if (what !== 'entry') count(`home ${isHost ? 'and host' : 'of a guest'} says ${what}`)
    },
    between({ item }) {
      if (item.kind === SUBMISSION_STATE) count(`host answers ${item.value.verdict.case ?? 'taken'}`)
    },
  }
}
