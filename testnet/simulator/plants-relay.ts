// Bugs planted into the rules of hosts, homes, replicas, feeds, inboxes and links.
import type { Plant } from './plants.ts'

export const RELAY_PLANTS: readonly Plant[] = [
  {
    id: 'host-acknowledges-early',
    file: 'relay/rules/submissions.ts',
    patches: [
      ['after(refuses ? this.#ownersGate() : this.#core.store.gate(), region, item)', 'after(0, region, item)'],
    ],
    explain:
      'the host says how far it has come before that is committed; a crash then loses what the home counts as taken',
    checks: ['told-is-durable'],
    seeds: 20,
  },
  {
    id: 'replica-acknowledges-early',
    file: 'relay/rules/regions.ts',
    patches: [
      [
        'if (conv.members[header.member]!.local) this.#senders.pump',
        'this.#sendLogState(conv, conv.head, false)\n      if (conv.members[header.member]!.local) this.#senders.pump',
      ],
    ],
    explain: 'a replica acknowledges entries before its commit, so they count as safe and are dropped elsewhere',
    checks: ['told-is-durable', 'converges'],
    seeds: 20,
  },
  {
    id: 'k-forgotten-at-restart',
    file: 'relay/rules/conversations.ts',
    patches: [['for (const author of conv.authors.values()) this.#writeWindow(conv, author)\n', '']],
    explain: 'blocks of the k window are not written: after a restart the next k is taken for the first',
    checks: ['failure', 'no-duplicate', 'nothing-lost', 'converges'],
    seeds: 10,
  },
  {
    id: 'feed-position-too-far',
    file: 'relay/rules/feeds.ts',
    patches: [['d.position = d.window.length > 0 ? d.window[0]!.commit - 1 : commit', 'd.position = commit']],
    explain: 'the position of a feed passes what is not acknowledged: after a restart nobody knows what is owed',
    checks: ['converges', 'nothing-lost'],
    seeds: 20,
  },
  {
    id: 'let-go-of-twice',
    file: 'relay/rules/resuming.ts',
    patches: [['    convs.clear()\n', '']],
    explain:
      'a read that ends after its link broke lets go of the conversation once more, which is then forgotten in use',
    checks: ['failure', 'converges'],
    first: 101,
    seeds: 80,
  },
  {
    id: 'restart-without-lag-rows',
    file: 'relay/rules/feeds.ts',
    patches: [
      [
        '      for (const { region, key, from } of rows.slice(at, at + this.#limits.demoted))\n        this.#store.put(feedPartition(region), key, writeNumber(from))\n',
        '',
      ],
    ],
    explain: 'a restart does not turn what the journal still owed into lag rows',
    checks: ['converges', 'nothing-lost'],
    seeds: 20,
  },
  {
    id: 'held-before-commit',
    file: 'relay/rules/submissions.ts',
    patches: [
      [
        'this.#untold[told]!.dueMs <= now && this.#untold[told]!.gate <= committed',
        'this.#untold[told]!.dueMs <= now + committed * 0',
      ],
    ],
    explain: 'a home says held before the submission is on its disk',
    checks: ['told-is-durable'],
    seeds: 20,
  },
  {
    id: 'safe-too-early',
    file: 'relay/rules/log.ts',
    patches: [['      if (acked < safe) safe = acked as Position\n', '']],
    explain: 'a host says safe without waiting for the other member regions',
    checks: ['told-is-durable'],
    seeds: 10,
  },
  {
    id: 'entry-dropped-too-early',
    file: 'relay/rules/log.ts',
    patches: [
      ['let low = earlier(conv.safe, conv.settled)', 'let low = conv.settled'],
      ['    if (conv.hostedHere)\n      for (const feed', '    if (low < 0)\n      for (const feed'],
    ],
    explain: 'a region drops an entry that its own devices have, though another region lacks it',
    checks: ['converges', 'nothing-lost', 'failure'],
    seeds: 20,
  },
  {
    id: 'demotion-forgets-the-rest',
    file: 'relay/rules/feeds.ts',
    patches: [
      [
        '    if (done > 0) d.window.splice(0, done)\n    if (streams > 0)',
        '    if (done > 0) d.window.length = 0\n    if (streams > 0)',
      ],
    ],
    explain: 'when a feed is demoted, what the commit had no room for gets no lag row',
    checks: ['converges', 'nothing-lost'],
    seeds: 200,
  },
  {
    id: 'promotion-forgets-own-commit',
    file: 'relay/rules/feeds.ts',
    patches: [
      [
        '(feed.acked.get(stream) ?? 0) < this.#hooks.streamHead(conv, stream)) continue',
        '(feed.acked.get(stream) ?? 0) < conv.settled) continue',
      ],
    ],
    explain: 'a lag row goes although the commit that deletes it brings something new',
    checks: ['converges', 'nothing-lost'],
    seeds: 20,
  },
  {
    id: 'entry-before-commit',
    file: 'relay/rules/log.ts',
    patches: [
      [
        'const gate = conv.hostedHere ? store.gate() : 0\n      for (const member',
        'const gate = 0 * store.gate()\n      for (const member',
      ],
    ],
    explain: 'a host pushes an entry to its own people before it is committed',
    checks: ['told-is-durable'],
    seeds: 10,
  },
  {
    id: 'inbox-row-dropped',
    file: 'relay/rules/inbox.ts',
    patches: [
      [
        'for (const device of deviceTexts(manifest)) if (cursorOf(row, device, head) < head) return false',
        'if (deviceTexts(manifest).length === 0) return false',
      ],
    ],
    explain: 'the first acknowledgement of a page deletes the inbox row, though the device is still behind',
    checks: ['converges', 'nothing-lost'],
    seeds: 20,
  },
  {
    id: 'sequenced-before-commit',
    file: 'relay/rules/log.ts',
    patches: [['entry, conv.hostedHere ? store.gate() : 0)', 'entry, 0 * store.gate())']],
    explain: 'a host tells the author the number before it is committed',
    checks: ['told-is-durable'],
    seeds: 10,
  },
  {
    id: 'cursor-before-delivery',
    file: 'relay/rules/devices.ts',
    patches: [
      [
        'this.#acknowledged(session, conv, member, after)\n      setView',
        'this.#acknowledged(session, conv, member, conv.head)\n      setView',
      ],
    ],
    explain: 'a home takes for delivered what it has not sent yet',
    checks: ['nothing-lost', 'one-order'],
    seeds: 20,
  },
  {
    id: 'journal-trimmed-too-early',
    file: 'relay/rules/feeds.ts',
    patches: [
      [
        'if (d.window.length > 0 || d.settled < d.position) low = Math.min(low, d.settled + 1)',
        'if (d.window.length < 0) low = Math.min(low, d.settled + 1)',
      ],
    ],
    explain: 'records are trimmed though a feed has not delivered them: after a restart nobody knows what was owed',
    checks: ['nothing-lost', 'converges'],
    seeds: 300,
  },
  {
    id: 'lag-server-keeps-broken-turns',
    file: 'relay/rules/lag-server.ts',
    patches: [
      ['      if (now - serving.sinceMs < this.#limits.againMs) continue\n', '      if (now > 0) continue\n'],
      [
        '    this.#queues.delete(region)\n    // Somebody may still be reading for it.\n    queue.waiting.clear()\n    queue.serving.clear()\n',
        '',
      ],
    ],
    explain: 'a stream whose turn was cut off by a broken link is never served again',
    checks: ['failure', 'converges', 'nothing-lost'],
    seeds: 60,
  },
  {
    id: 'introduced-once-and-for-all',
    file: 'relay/rules/introductions.ts',
    patches: [
      ['    this.#done.delete(region)\n', '    this.#done.has(region)\n'],
      ['this.#done.get(region)?.delete(conv.id)', 'void conv'],
    ],
    explain: 'a conversation is introduced once, and whoever was restarted before it could keep it refuses what comes',
    checks: ['failure', 'converges', 'nothing-lost'],
    seeds: 60,
  },
  {
    id: 'inbox-row-not-read',
    file: 'relay/rules/inboxes.ts',
    patches: [['    member.inbox = readInboxRow(row)\n', '    readInboxRow(row)\n']],
    explain: 'a conversation that comes back into memory forgets who was behind in it',
    checks: ['nothing-lost', 'converges', 'one-order', 'failure'],
    seeds: 20,
  },
  {
    id: 'delivered-before-delivery',
    file: 'relay/rules/delivered.ts',
    patches: [
      ['inboxes.highest(conv, conv.members[member]!)', '(inboxes.highest(conv, conv.members[member]!), conv.head)'],
    ],
    explain: 'a home says that somebody has everything that it has itself',
    checks: ['marks'],
    seeds: 20,
  },
  {
    id: 'register-not-fed',
    file: 'relay/rules/registers.ts',
    patches: [['!from && r === conv.host', '!from && r !== conv.host']],
    explain: 'marks of a guest never leave its home',
    checks: ['marks'],
    seeds: 60,
  },
  {
    id: 'home-keeps-the-old-rev',
    file: 'relay/rules/home.ts',
    patches: [
      ["  if (theirs.rev > mine.rev && (same || cancels)) return { do: 'replace' }\n", '  cancels satisfies boolean\n'],
    ],
    explain: 'a home does not take what a device has encrypted again',
    checks: ['failure', 'converges', 'nothing-lost'],
    seeds: 60,
  },
  {
    id: 'host-takes-a-gap',
    file: 'relay/rules/host.ts',
    patches: [["  if (k > author.last + 1) return { do: 'behind', k: author.last + 1 }\n", '']],
    explain: 'a host numbers a k that is not the next',
    checks: ['nothing-lost', 'failure', 'one-order', 'converges'],
    seeds: 150,
  },
]
