// What happened how often over many seeds. A fault, verdict, state or transition that never happens is a blind spot: then
// the run says nothing about it, and fails.
import { ENDINGS } from './acts.ts'

export type Reach = Record<string, number>

export function addReach(to: Reach, from: Reach): void {
  for (const [what, n] of Object.entries(from)) to[what] = (to[what] ?? 0) + n
}

const of = (subject: string, ...what: readonly string[]): string[] => what.map((it) => `${subject} ${it}`)

const DISK_ACTS = ['disk failing', 'disk unknown', 'disk silent', 'slow disk', 'full disk']
const LINK_ACTS = ['cut', 'stall', 'one way', 'halves', 'ring', 'swizzle']
const RELAY_ACTS = ['crash relay', 'pause relay', 'second owner', 'crash at an acknowledgement', 'clock jump']
const DEVICE_ACTS = ['disconnect', 'crash device', 'slow device', 'pause device', 'destroy at an acknowledgement']
const PEOPLE_ACTS = ['say', 'cancel', 'read', 'renew', 'back up', 'restore', 'move', 'copy disk']

/**
 * Not in here: verdict `moved`, which homes keep to themselves, and `past`, which needs a longer history; `final`, which an honest device never gets: it finds out
 * itself what cannot be sent (`device failed`); `log_state` with a gap, which a stream that loses nothing never brings.
 */
const MUST_REACH: readonly string[] = [
  ...of('act', ...PEOPLE_ACTS, ...DISK_ACTS, ...LINK_ACTS, ...RELAY_ACTS, ...DEVICE_ACTS),
  ...of('verdict', 'held', 'sequenced', 'safe', 'behind', 'wait', 'stale'),
  ...of('device', 'held', 'sequenced', 'cancelled', 'failed', 'message', 'delivered', 'read', 'contact-changed'),
  ...of('device', 'old-copy', 'restored', 'look-up-failed'),
  ...of('relay', 'crash', 'failed', 'failed for a full disk', 'failed deposed'),
  ...of('link', 'up', 'down', 'replaced'),
  ...of('item', 'intro', 'submissions', 'submission_state', 'log', 'log_state', 'safe'),
  ...of('item', 'registers', 'registers_state'),
  ...of('item', 'takeover', 'takeover_state', 'fetch', 'range', 'ballot', 'host_registers', 'host_registers_state'),
  ...of('item', 'moved', 'moved_state', 'journal_position'),
  ...[
    'moved',
    'moved with nothing',
    'cut off',
    'region destroyed',
    'disk went back',
    'old backup found',
    'region restored',
    'device host-moved',
    'device confirmed',
  ],
  ...of('deposed', 'says held', 'says sequenced', 'says safe', 'says entry', 'sends an item'),
  ...of('ending', ...ENDINGS),
  ...['said', 'cancel asked', 'read asked', 'manifest replaced', 'demoted'],
  // The tables of device, home and host.
  ...of('device bound:', 'content leaves', 'content leaves again'),
  ...of('device held:', 'content leaves again'),
  ...of('device skipping:', 'a skip leaves', 'a skip leaves again'),
  ...of('device:', 'a skip replaces its content', 'encrypted again'),
  ...of('device bound gets', 'held', 'sequenced', 'behind', 'wait', 'stale', 'safe'),
  ...of('device held gets', 'held', 'sequenced', 'stale', 'safe'),
  ...of('device sequenced gets', 'safe', 'sequenced'),
  ...of('device skipping gets', 'sequenced', 'held', 'behind', 'safe'),
  ...of('device said ->', 'held', 'sequenced', 'cancelled', 'failed'),
  ...of('device held ->', 'sequenced', 'cancelled'),
  ...of('home and host says', 'held', 'sequenced', 'safe', 'behind', 'wait', 'stale'),
  ...of('home of a guest says', 'held', 'sequenced', 'safe', 'behind', 'wait', 'stale'),
  ...of('host answers', 'taken', 'behind', 'wait', 'stale'),
]

export function neverReached(reach: Reach): string[] {
  return MUST_REACH.filter((what) => !reach[what])
}
