// Bugs that the simulator must find, planted one at a time (plant-hook.ts): what to replace in which file of the rules,
// which of the checks has to notice, and within how many seeds.
export type Plant = {
  readonly id: string
  /** From the root of the package. */
  readonly file: string
  readonly patches: readonly (readonly [find: string, replace: string])[]
  readonly explain: string
  /** One of these checks has to notice: any other may as well. */
  readonly checks: readonly string[]
  readonly seeds: number
}

export const PLANTS: readonly Plant[] = [
  {
    id: 'host-acknowledges-early',
    file: 'relay/rules/submissions.ts',
    patches: [
      ['this.#core.outbox.after(this.#core.store.gate(), region, item)', 'this.#core.outbox.after(0, region, item)'],
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
    id: 'restart-without-lag-rows',
    file: 'relay/rules/feeds.ts',
    patches: [
      [
        '      this.#store.put(feedPartition(region), key, writeNumber(from))\n    }\n    this.#takenOver',
        '    }\n    this.#takenOver',
      ],
    ],
    explain: 'a restart does not turn what the journal still owed into lag rows',
    checks: ['converges', 'nothing-lost'],
    seeds: 20,
  },
  {
    id: 'replica-accepts-gap',
    file: 'relay/rules/regions.ts',
    patches: [
      [
        '        this.#sendLogState(conv, conv.settled, true)\n        return\n      }\n',
        '        conv.head = (header.at - 1) as Position\n      }\n',
      ],
      [
        '      if (header.k !== author.last + 1) throw',
        '      author.last = header.k - 1\n      if (header.k !== author.last + 1) throw',
      ],
    ],
    explain: 'a replica takes an entry that does not follow its head',
    checks: ['one-order', 'nothing-lost', 'converges'],
    seeds: 300,
  },
  {
    id: 'fresh-encryption-on-retry',
    file: 'client/rules/sealing.ts',
    patches: [
      [
        'if (isStaleStill(core, turn, conversation, lookUps)) return false\n',
        `if (isStaleStill(core, turn, conversation, lookUps)) return false
  if (conversation.ref === 0)
    for (const slot of conversation.slots.values())
      if (isOpen(slot) && slot.sealed) setSlot(turn, conversation, { ...slot, sealed: false })\n`,
      ],
    ],
    explain: 'a device that comes back encrypts again what it has sent before, under the same rev',
    checks: ['sent-is-durable'],
    seeds: 10,
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
    patches: [['let low = earlier(conv.safe, conv.settled)', 'let low = conv.settled']],
    explain: 'a region drops an entry that its own devices have, though another region lacks it',
    checks: ['converges', 'nothing-lost', 'failure'],
    seeds: 20,
  },
  {
    id: 'device-acknowledges-early',
    file: 'client/rules/device.ts',
    patches: [
      [
        '      this.#commit(turn)\n    } catch',
        '      if (!this.#core.stopped && turn.touched.size === 0) sendTurn(this.#core, turn)\n      this.#commit(turn)\n    } catch',
      ],
      [
        '    if (!this.#core.stopped) sendTurn(this.#core, turn)\n    for (const then',
        '    if (!this.#core.stopped && turn.touched.size > 0) sendTurn(this.#core, turn)\n    for (const then',
      ],
    ],
    explain: 'a device sends its cursor before its own commit',
    checks: ['sent-is-durable'],
    seeds: 10,
  },
  {
    id: 'demotion-forgets-own-commit',
    file: 'relay/rules/feeds.ts',
    patches: [['    for (const { conv, stream, from } of d.gathered.values()) demote(conv, stream, from)\n', '']],
    explain: 'when a feed is demoted, what the very commit brings gets no lag row',
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
        'const gate = conv.hostedHere ? store.gate() : 0\n      for (const [m, member]',
        'const gate = 0 * store.gate()\n      for (const [m, member]',
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
        'return deviceTexts(manifest).every((d) => cursorOf(row, d, head) >= head)',
        'return deviceTexts(manifest).length > 0',
      ],
    ],
    explain: 'the first acknowledgement of a page deletes the inbox row, though the device is still behind',
    checks: ['converges', 'nothing-lost'],
    seeds: 20,
  },
  {
    id: 'sequenced-before-commit',
    file: 'relay/rules/log.ts',
    patches: [
      [
        '{ k: header.k, rev: 0, tag: header.tag, outcome },\n        conv.hostedHere ? store.gate() : 0,',
        '{ k: header.k, rev: 0, tag: header.tag, outcome },\n        0 * store.gate(),',
      ],
    ],
    explain: 'a host tells the author the number before it is committed',
    checks: ['told-is-durable'],
    seeds: 10,
  },
  {
    id: 'bytes-dropped-at-sequenced',
    file: 'client/rules/slot.ts',
    patches: [
      ["slot: { ...slot, state: 'sequenced', stands: tag },", "slot: { ...slot, state: 'done', stands: tag },"],
      [
        "effects: [tag === 'content' ? 'show-sequenced' : 'show-skipped'],",
        "effects: [tag === 'content' ? 'show-sequenced' : 'show-skipped', 'drop-bytes'],",
      ],
    ],
    explain: 'a device forgets its submission when it has a number, not when it is safe',
    checks: ['sent-is-durable'],
    seeds: 10,
  },
  {
    id: 'cursor-before-delivery',
    file: 'relay/rules/devices.ts',
    patches: [
      [
        'this.#acknowledged(session, conv, member, after)\n      session.views',
        'this.#acknowledged(session, conv, member, conv.head)\n      session.views',
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
]
