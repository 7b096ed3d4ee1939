// What happened how often over many seeds. A fault, verdict or state that never happens is a blind spot: then the run
// says nothing about it, and fails.
export type Reach = Record<string, number>

export function addReach(to: Reach, from: Reach): void {
  for (const [what, n] of Object.entries(from)) to[what] = (to[what] ?? 0) + n
}

/**
 * Not in here: `moved` and `past`, which need a host that moves; `final`, which an honest device never gets: it finds out
 * itself what cannot be sent (`device failed`).
 */
const MUST_REACH: readonly string[] = [
  ...['held', 'sequenced', 'safe', 'behind', 'wait', 'stale'].map((verdict) => `verdict ${verdict}`),
  ...['held', 'sequenced', 'cancelled', 'failed', 'message', 'delivered', 'read', 'contact-changed'].map(
    (state) => `device ${state}`,
  ),
  ...['old-copy', 'look-up-failed', 'crash', 'pause', 'disconnect', 'stall', 'destroyed', 'restored'].map(
    (fault) => `device ${fault}`,
  ),
  ...['crash', 'pause', 'failed', 'failed for a full disk', 'crash at an acknowledgement'].map((it) => `relay ${it}`),
  ...['failing', 'unknown', 'silent', 'full'].map((fault) => `disk ${fault}`),
  ...['up', 'down', 'stall'].map((fault) => `link ${fault}`),
  ...['intro', 'submissions', 'submission_state', 'log', 'log_state', 'log_state with a gap', 'safe'].map(
    (kind) => `item ${kind}`,
  ),
  ...['registers', 'registers_state'].map((kind) => `item ${kind}`),
  ...['rest', 'checkpoint and crash', 'crash and rest', 'checkpoint, crash and more'].map((end) => `ending ${end}`),
  ...['said', 'cancel asked', 'read asked', 'manifest replaced', 'demoted', 'refused unknown_conversation'],
]

export function neverReached(reach: Reach): string[] {
  return MUST_REACH.filter((what) => !reach[what])
}
