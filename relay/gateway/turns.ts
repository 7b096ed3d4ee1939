// Who is heard next when devices say more at once than can be handled before anything else has its turn. What comes is
// handled as it comes, for TURN_MS; the rest waits, and of those who wait the ones that said little lately go first, the
// others one step each in turn. Between two turns sockets are read and commits leave: a few that are loud cost the others
// no more than such a turn. Whoever has much waiting is not read, so that more of it waits in the device's own buffers.
import type { Clock } from '#protocol'
import { LOUD_SHARE, TURN_MS, WAITING_ALL_MAX_BYTES, WAITING_EACH_MAX_BYTES } from '../limits.ts'

/** Handles a part of what was said and returns what is left of it. Throws nothing. */
export type Step = () => Step | undefined

export type Turns<Speaker extends object> = {
  /** Runs the step, now or when it is the speaker's turn; steps of one speaker stay in their order. */
  say(speaker: Speaker, bytes: number, step: Step): void
}

export type TurnsPorts<Speaker> = {
  readonly clock: Pick<Clock, 'monotonic'>
  /** Calls back after sockets were read. */
  readonly schedule: (callback: () => void) => void
  /** Reads nothing more from the speaker, until `release`. */
  hold(speaker: Speaker): void
  release(speaker: Speaker): void
}

type Waiting = { readonly bytes: number; readonly step: Step }
type Voice<Speaker> = {
  readonly speaker: Speaker
  /** Until then it has had more than its share. */
  loudUntilMs: number
  readonly waiting: Waiting[]
  bytes: number
  held: boolean
}

/** While both wait, one of so many turns goes to somebody loud. */
const LOUD_EVERY = 4

export function createTurns<Speaker extends object>(ports: TurnsPorts<Speaker>): Turns<Speaker> {
  const { clock } = ports
  const voices = new WeakMap<Speaker, Voice<Speaker>>()
  /** Those who have something waiting, in the order in which their turns come. */
  const quiet = new Set<Voice<Speaker>>()
  const loud = new Set<Voice<Speaker>>()
  let bytesWaiting = 0
  let spentMs = 0
  let picks = 0
  let scheduled = false

  const run = (voice: Voice<Speaker>, step: Step): Step | undefined => {
    const from = clock.monotonic()
    const left = step()
    const tookMs = clock.monotonic() - from
    spentMs += tookMs
    voice.loudUntilMs = Math.max(voice.loudUntilMs, from) + tookMs / LOUD_SHARE
    return left
  }

  const line = (voice: Voice<Speaker>): void => {
    if (voice.loudUntilMs > clock.monotonic()) loud.add(voice)
    else quiet.add(voice)
  }

  const wait = (voice: Voice<Speaker>, waiting: Waiting): void => {
    voice.waiting.push(waiting)
    voice.bytes += waiting.bytes
    bytesWaiting += waiting.bytes
    if (voice.waiting.length === 1) line(voice)
    if (voice.held || (voice.bytes < WAITING_EACH_MAX_BYTES && bytesWaiting < WAITING_ALL_MAX_BYTES)) return
    voice.held = true
    ports.hold(voice.speaker)
  }

  const pick = (): Voice<Speaker> | undefined => {
    const first = loud.size > 0 && (quiet.size === 0 || ++picks % LOUD_EVERY === 0) ? loud : quiet
    for (const voice of first) {
      first.delete(voice)
      return voice
    }
    return undefined
  }

  const next = (voice: Voice<Speaker>): void => {
    const { waiting } = voice
    const { step, bytes } = waiting[0]!
    const left = run(voice, step)
    if (left) waiting[0] = { step: left, bytes }
    else {
      waiting.shift()
      voice.bytes -= bytes
      bytesWaiting -= bytes
    }
    if (waiting.length > 0) line(voice)
    else if (voice.held) {
      voice.held = false
      ports.release(voice.speaker)
    }
  }

  const soon = (): void => {
    if (scheduled) return
    scheduled = true
    ports.schedule(turn)
  }

  const turn = (): void => {
    scheduled = false
    spentMs = 0
    for (let voice = pick(); voice; voice = spentMs < TURN_MS ? pick() : undefined) next(voice)
    spentMs = 0
    if (quiet.size + loud.size > 0) soon()
  }

  const voiceOf = (speaker: Speaker): Voice<Speaker> => {
    let voice = voices.get(speaker)
    if (!voice) {
      voice = { speaker, loudUntilMs: 0, waiting: [], bytes: 0, held: false }
      voices.set(speaker, voice)
    }
    return voice
  }

  return {
    say(speaker, bytes, step) {
      const voice = voiceOf(speaker)
      soon()
      let left: Step | undefined = step
      if (voice.waiting.length === 0 && (quiet.size + loud.size === 0 || voice.loudUntilMs <= clock.monotonic()))
        while (left && spentMs < TURN_MS) left = run(voice, left)
      if (left) wait(voice, { bytes, step: left })
    },
  }
}
