// What becomes of one k: the device's table of section 2 of the protocol, as a step over plain data.
//
// A k is bound to one content for ever. Whatever happens to it (lost answers, refusals, a cancel, a move of the host),
// what is sent again is the same content or a skip under the same k; which of the two stands is decided by the first
// that the host numbers. `rev` counts encryptions; a skip's rev is above its content's.
//
// The table is total: what it leaves out changes nothing. Two readings that the text leaves open are taken from the model:
// a verdict that finds a k `bound` was caused by an earlier life of this device and counts as if the k were `sent`;
// and the log's own entry counts as `sequenced` in every state.
export const SLOT_STATES = ['bound', 'sent', 'held', 'sequenced', 'skipping', 'done'] as const
export type SlotState = (typeof SLOT_STATES)[number]

export type Slot = {
  readonly state: SlotState
  /** Of the content. */
  readonly rev: number
  /** Of the skip; 0 when none was ever made for this k. */
  readonly skipRev: number
  /** What was numbered, if anything was. */
  readonly stands: 'content' | 'skip' | undefined
}

export type SlotEvent =
  | { readonly type: 'connected' }
  | { readonly type: 'behind' }
  | { readonly type: 'held' }
  /** Whose tag the number came with; `mine` = the tag is none of this k's, but its HMAC is this device's. */
  | { readonly type: 'sequenced'; readonly tag: 'content' | 'skip' | 'mine' | 'strange' }
  /** Everything up to and including this k is safe. */
  | { readonly type: 'safe' }
  /** A forced cut: `void` when this k's number lies beyond it. */
  | { readonly type: 'cut'; readonly fate: 'void' | 'kept' }
  | { readonly type: 'stale'; readonly rev: number }
  | { readonly type: 'final'; readonly rev: number }
  | { readonly type: 'cancel' }
  | { readonly type: 'wait' }
  | { readonly type: 'moved' }
  | { readonly type: 'past' }

export type SlotEffect =
  /** Send what this k now is: the content's stored bytes, or the skip. */
  | 'send'
  /** Encrypt this and all later contents without a number again; `rev` has been raised for this one. */
  | 'encrypt-again'
  /** Make a tag for the skip if there is none, store it, send it. */
  | 'skip'
  | 'show-held'
  | 'show-sequenced'
  /** A skip took the number: the person cancelled, or the host refused. */
  | 'show-skipped'
  | 'drop-bytes'
  /** Look own entries up in the log. */
  | 'look-up'
  /** This profile is an old copy of another that lives on. */
  | 'old-copy'
  | 'host-lies'

/** The slot that was given where nothing changes; otherwise a new one, with all that it carries besides. */
export type Step<S extends Slot = Slot> = { readonly slot: S; readonly effects: readonly SlotEffect[] }

const SILENT: readonly SlotEffect[] = []

export const newSlot: Slot = { state: 'bound', rev: 0, skipRev: 0, stands: undefined }

/** Neither numbered nor a skip: what a `stale` encrypts again. */
export function isOpen(slot: Slot): boolean {
  return slot.state === 'bound' || slot.state === 'sent' || slot.state === 'held'
}

export function isNumbered(slot: Slot): boolean {
  return slot.state === 'sequenced' || slot.state === 'done'
}

/** Which form goes out when this k is sent. */
export function formOf(slot: Slot): 'content' | 'skip' {
  return slot.state === 'skipping' || slot.stands === 'skip' ? 'skip' : 'content'
}

function sequenced<S extends Slot>(slot: S, tag: 'content' | 'skip' | 'mine' | 'strange'): Step<S> {
  if (tag === 'mine') return { slot, effects: ['old-copy'] }
  if (tag === 'strange') return { slot, effects: ['host-lies'] }
  if (isNumbered(slot)) return { slot, effects: SILENT }
  return {
    slot: { ...slot, state: 'sequenced', stands: tag },
    effects: [tag === 'content' ? 'show-sequenced' : 'show-skipped'],
  }
}

function skip<S extends Slot>(slot: S): Step<S> {
  return { slot: { ...slot, state: 'skipping', skipRev: Math.max(slot.skipRev, slot.rev + 1) }, effects: ['skip'] }
}

function cut<S extends Slot>(slot: S, fate: 'void' | 'kept'): Step<S> {
  if (slot.state !== 'sequenced') return { slot, effects: SILENT }
  if (fate === 'kept') return { slot, effects: ['send'] }
  const state = slot.skipRev > 0 ? 'skipping' : 'bound'
  return { slot: { ...slot, state, stands: undefined }, effects: ['send'] }
}

function again<S extends Slot>(slot: S, event: 'connected' | 'behind'): Step<S> {
  if (slot.state === 'done' || (slot.state === 'sequenced' && event === 'connected')) return { slot, effects: SILENT }
  return { slot: slot.state === 'bound' ? { ...slot, state: 'sent' } : slot, effects: ['send'] }
}

export function stepSlot<S extends Slot>(slot: S, event: SlotEvent): Step<S> {
  switch (event.type) {
    case 'connected':
    case 'behind':
      return again(slot, event.type)
    case 'held':
      if (slot.state !== 'sent' && slot.state !== 'bound') return { slot, effects: SILENT }
      return { slot: { ...slot, state: 'held' }, effects: ['show-held'] }
    case 'sequenced':
      return sequenced(slot, event.tag)
    case 'safe':
      if (slot.state !== 'sequenced') return { slot, effects: SILENT }
      return { slot: { ...slot, state: 'done' }, effects: ['drop-bytes'] }
    case 'cut':
      return cut(slot, event.fate)
    case 'stale':
      if (!isOpen(slot) || event.rev < slot.rev) return { slot, effects: SILENT }
      return { slot: { ...slot, state: 'sent', rev: slot.rev + 1 }, effects: ['encrypt-again'] }
    case 'final':
      return isOpen(slot) && event.rev >= slot.rev ? skip(slot) : { slot, effects: SILENT }
    case 'cancel':
      return isOpen(slot) ? skip(slot) : { slot, effects: SILENT }
    case 'past':
      return { slot, effects: isNumbered(slot) || slot.state === 'bound' ? SILENT : ['look-up'] }
    case 'wait':
    case 'moved':
      return { slot, effects: SILENT }
  }
}
