// Bugs planted into the rules of devices.
import type { Plant } from './plants.ts'

export const CLIENT_PLANTS: readonly Plant[] = [
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
    id: 'stale-is-not-encrypted-again',
    file: 'client/rules/outbound.ts',
    patches: [["  apply(core, turn, conversation, stale.k, { type: 'stale', rev: stale.rev }, NO_FACTS)\n", '']],
    explain: 'a device that is told that its manifests are stale does not encrypt again',
    checks: ['failure', 'converges', 'nothing-lost'],
    seeds: 60,
  },
  {
    id: 'behind-is-not-acted-on',
    file: 'client/rules/pipe.ts',
    patches: [['  rewindPipe(pipe, Math.min(k0, lowest))\n', '']],
    explain: 'a device that is told where to resume goes on where it was',
    checks: ['failure', 'converges', 'nothing-lost'],
    seeds: 30,
  },
  {
    id: 'reconnect-does-not-resend',
    file: 'client/rules/pipe.ts',
    patches: [['  pipe.next = lowest\n  pipe.inFlight.clear()', '  pipe.inFlight.clear()']],
    explain: 'a device sends after a reconnect only what it has not sent yet',
    checks: ['failure', 'converges', 'nothing-lost'],
    seeds: 10,
  },
  {
    id: 'skip-with-the-tag-of-its-content',
    file: 'client/rules/outbound.ts',
    patches: [['skipTag: core.ports.cipher.makeTag({ convId: conversation.id, k })', 'skipTag: slot.tag']],
    explain: 'a skip that was numbered is taken for its content: a message that nobody has shows as sent',
    checks: ['nothing-lost', 'one-order', 'no-duplicate'],
    seeds: 200,
  },
  {
    id: 'stranger-is-not-looked-up',
    file: 'client/rules/inbound.ts',
    patches: [["  lookUps.wantStrange(user)\n  turn.draft.put('unread'", "  turn.draft.put('unread'"]],
    explain: 'what comes from a device that is not known yet is never read',
    checks: ['converges', 'nothing-lost'],
    seeds: 30,
  },
  {
    id: 'safe-counts-for-all',
    file: 'client/rules/outbound.ts',
    patches: [['    if (k > upTo) break\n', '']],
    explain: 'a device that hears that some are safe forgets later ones too',
    checks: ['sent-is-durable'],
    seeds: 60,
  },
]
