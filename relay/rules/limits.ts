// What bounds the rules of a relay. They are handed in, so that a simulator can make them tiny and reach everything.
export type RuleLimits = {
  /** How often the owner calls `tick`, ms. */
  readonly tickMs: number
  /** How often what might have been forgotten is looked after, ms. */
  readonly sweepMs: number
  /** Conversations kept in memory. */
  readonly conversations: number
  /** Of feeds.ts. */
  readonly windowItems: number
  readonly patienceMs: number
  readonly stuckMs: number
  readonly demoted: number
  readonly linkBacklogBytes: number
  readonly itemBytes: number
  readonly lagStreams: number
  /** Of one stream, before it is the next one's turn. */
  readonly lagTurnBytes: number
  /** What regions that were away get in a tick of what they missed, all together. */
  readonly catchUpTickBytes: number
  readonly lagAgainMs: number
  /** Unsent bytes of a device's socket beyond which it is no longer pushed to. */
  readonly sessionBacklogBytes: number
  /** How long a region that takes a conversation over waits for those who have it before it goes on without them, ms. */
  readonly takeoverPatienceMs: number
  /** How often it asks, ms. */
  readonly takeoverAgainMs: number
  /** Conversations that come here which are looked after in one tick. */
  readonly comingSteps: number
  /** … that are looked for on one region's word alone, and have waited in vain: about 2 KB each. */
  readonly comingSpokenOf: number
  /** After so long without a link it is looked up where those live for whom something is kept, ms; then ever more rarely. */
  readonly lookUpAgainMs: number
  /** How often regions are told how far the journal has come, and how long after a start one of them is waited for, ms. */
  readonly notesAgainMs: number
  readonly notesPatienceMs: number
  readonly held: number
  readonly heldBytes: number
}

export const RULE_LIMITS: RuleLimits = {
  tickMs: 10,
  sweepMs: 1_000,
  conversations: 20_000,
  windowItems: 32_768,
  patienceMs: 10_000,
  stuckMs: 30_000,
  demoted: 4_096,
  linkBacklogBytes: 4 * 1024 * 1024,
  itemBytes: 128 * 1024,
  lagStreams: 32,
  lagTurnBytes: 32 * 1024,
  catchUpTickBytes: 128 * 1024,
  lagAgainMs: 5_000,
  sessionBacklogBytes: 256 * 1024,
  takeoverPatienceMs: 10_000,
  takeoverAgainMs: 1_000,
  comingSteps: 256,
  comingSpokenOf: 4_096,
  lookUpAgainMs: 60_000,
  notesAgainMs: 1_000,
  notesPatienceMs: 3_000,
  held: 2_048,
  heldBytes: 64 * 1024 * 1024,
}
