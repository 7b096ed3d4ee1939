import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SLOT_STATES, type Slot, type SlotEvent, type SlotState, stepSlot } from './slot.ts'

const REV = 2

function slotIn(state: SlotState): Slot {
  const skipRev = state === 'skipping' ? REV + 1 : 0
  return { state, rev: REV, skipRev, stands: state === 'sequenced' || state === 'done' ? 'content' : undefined }
}

const EVENTS: Record<string, SlotEvent> = {
  connected: { type: 'connected' },
  behind: { type: 'behind' },
  held: { type: 'held' },
  'sequenced content': { type: 'sequenced', tag: 'content' },
  'sequenced skip': { type: 'sequenced', tag: 'skip' },
  'sequenced mine': { type: 'sequenced', tag: 'mine' },
  'sequenced strange': { type: 'sequenced', tag: 'strange' },
  safe: { type: 'safe' },
  'cut void': { type: 'cut', fate: 'void' },
  'cut kept': { type: 'cut', fate: 'kept' },
  stale: { type: 'stale', rev: REV },
  'stale old': { type: 'stale', rev: REV - 1 },
  final: { type: 'final', rev: REV },
  'final old': { type: 'final', rev: REV - 1 },
  cancel: { type: 'cancel' },
  wait: { type: 'wait' },
  moved: { type: 'moved' },
  past: { type: 'past' },
}

// state x event -> 'next state: effects'; what is not here changes nothing and does nothing.
const TABLE: Record<SlotState, Record<string, string>> = {
  bound: {
    connected: 'sent: send',
    behind: 'sent: send',
    held: 'held: show-held',
    'sequenced content': 'sequenced: show-sequenced',
    'sequenced skip': 'sequenced: show-skipped',
    stale: 'sent: encrypt-again',
    final: 'skipping: skip',
    cancel: 'skipping: skip',
  },
  sent: {
    connected: 'sent: send',
    behind: 'sent: send',
    held: 'held: show-held',
    'sequenced content': 'sequenced: show-sequenced',
    'sequenced skip': 'sequenced: show-skipped',
    stale: 'sent: encrypt-again',
    final: 'skipping: skip',
    cancel: 'skipping: skip',
    past: 'sent: look-up',
  },
  held: {
    connected: 'held: send',
    behind: 'held: send',
    'sequenced content': 'sequenced: show-sequenced',
    'sequenced skip': 'sequenced: show-skipped',
    stale: 'sent: encrypt-again',
    final: 'skipping: skip',
    cancel: 'skipping: skip',
    past: 'held: look-up',
  },
  sequenced: {
    behind: 'sequenced: send',
    safe: 'done: drop-bytes',
    'cut void': 'bound: send',
    'cut kept': 'sequenced: send',
  },
  skipping: {
    connected: 'skipping: send',
    behind: 'skipping: send',
    'sequenced content': 'sequenced: show-sequenced',
    'sequenced skip': 'sequenced: show-skipped',
    past: 'skipping: look-up',
  },
  done: {},
}

test('every state meets every event and does exactly what the table says', () => {
  for (const state of SLOT_STATES) {
    for (const [name, event] of Object.entries(EVENTS)) {
      const slot = slotIn(state)
      const { slot: next, effects } = stepSlot(slot, event)
      const always = { 'sequenced mine': 'old-copy', 'sequenced strange': 'host-lies' }[name]
      const expected = always ? `${state}: ${always}` : (TABLE[state][name] ?? `${state}: `)
      assert.equal(`${next.state}: ${effects.join(' ')}`, expected, `${state} x ${name}`)
      if (expected === `${state}: `) assert.deepEqual(next, slot, `${state} x ${name} changes nothing`)
    }
  }
})

test('revs: a stale raises the content, a skip stands above its content, a void skip stays one', () => {
  const raised = stepSlot(slotIn('held'), { type: 'stale', rev: REV }).slot
  assert.equal(raised.rev, REV + 1)
  assert.equal(stepSlot(raised, { type: 'stale', rev: REV }).slot.rev, REV + 1, 'a stale of an older form is ignored')
  const skipped = stepSlot(raised, { type: 'cancel' }).slot
  assert.ok(skipped.skipRev > skipped.rev)
  const content = stepSlot(skipped, { type: 'sequenced', tag: 'content' }).slot
  assert.equal(content.stands, 'content')
  const voided = stepSlot(content, { type: 'cut', fate: 'void' }).slot
  assert.equal(voided.state, 'skipping', 'a k for which a skip was ever made comes again as that skip')
  assert.equal(voided.skipRev, skipped.skipRev)
})
