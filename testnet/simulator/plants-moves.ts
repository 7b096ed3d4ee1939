// Bugs planted into the rules by which conversations follow their members.
import type { Plant } from './plants.ts'

export const MOVES_PLANTS: readonly Plant[] = [
  {
    id: 'handed-over-as-read',
    file: 'relay/rules/arriving.ts',
    patches: [['core.inboxes.arrived(conv, member, conv.low)', 'core.inboxes.arrived(conv, member, conv.head)']],
    explain: 'a new home takes what it was handed over for what its people have',
    checks: ['failure', 'one-order', 'converges', 'nothing-lost'],
    seeds: 200,
  },
  {
    id: 'k-table-left-behind',
    file: 'relay/rules/handover.ts',
    patches: [['    author.last = last\n', '    author.last = last * 0\n']],
    explain: 'a new host has the log and does not know which k stand in it',
    checks: ['failure', 'no-duplicate', 'nothing-lost', 'converges'],
    seeds: 200,
  },
  {
    id: 'device-keeps-what-is-void',
    file: 'client/rules/cuts.ts',
    patches: [['  if (kept !== cursor) putRow', '  if (kept > cursor) putRow']],
    explain: 'the cursor of a device does not go back to the cut',
    checks: ['failure', 'one-order', 'nothing-lost', 'converges'],
    seeds: 400,
  },
  {
    id: 'home-before-never-told',
    file: 'relay/rules/former-homes.ts',
    patches: [
      ['this.#tellBefore(known, () => this.#answerWhenEmpty(region, known))', 'this.#answerWhenEmpty(region, known)'],
    ],
    explain:
      'a home that crashed before it told the home before says that nothing is kept for somebody who has moved on',
    checks: ['nothing-lost', 'converges'],
    first: 28_271,
    seeds: 10,
  },
  {
    id: 'old-home-never-told',
    file: 'relay/rules/former-homes.ts',
    patches: [
      ['      else links.want(region)\n', ''],
      ['if (links.isUp(region)) this.#tell(region, round)', ''],
    ],
    explain: 'a home before does not hear that somebody lives elsewhere',
    checks: ['nothing-lost', 'converges'],
    first: 1_801,
    seeds: 100,
  },
]
