// Who is heard next when devices say more at once than can be handled before anything else has its turn. What comes is
// handled as it comes, for TURN_MS; the rest waits, and of those who wait the ones that said little lately go first, the
// others one step each in turn. Between two turns sockets are read and commits leave: a few that are loud cost the others
// no more than such a turn. Whoever has much waiting is not read, so that more of it waits in the device's own buffers.
import { type Clock, createFairLine } from '#protocol'
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
  loudUntilMs: number
  readonly waiting: Waiting[]
  bytes: number
  held: boolean
}

export function createTurns<Speaker extends object>(ports: TurnsPorts<Speaker>): Turns<Speaker> {
  const { clock } = ports
  const voices = new WeakMap<Speaker, Voice<Speaker>>()
  /** Those who have something waiting, in the order in which their turns come. */
  const line = createFairLine<Voice<Speaker>>(clock, LOUD_SHARE)
  let bytesWaiting = 0
  let spentMs = 0
  let scheduled = false

  const run = (voice: Voice<Speaker>, step: Step): Step | undefined => {
    const from = clock.monotonic()
    const left = step()
    const tookMs = clock.monotonic() - from
    spentMs += tookMs
    line.heard(voice, from, tookMs)
    return left
  }

  const wait = (voice: Voice<Speaker>, waiting: Waiting): void => {
    voice.waiting.push(waiting)
    voice.bytes += waiting.bytes
    bytesWaiting += waiting.bytes
    if (voice.waiting.length === 1) line.join(voice)
    if (voice.held || (voice.bytes < WAITING_EACH_MAX_BYTES && bytesWaiting < WAITING_ALL_MAX_BYTES)) return
    voice.held = true
    ports.hold(voice.speaker)
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
    if (waiting.length > 0) line.join(voice)
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
    for (let voice = line.next(); voice; voice = spentMs < TURN_MS ? line.next() : undefined) next(voice)
    spentMs = 0
    if (line.size > 0) soon()
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
      if (voice.waiting.length === 0 && (line.size === 0 || voice.loudUntilMs <= clock.monotonic()))
        while (left && spentMs < TURN_MS) left = run(voice, left)
      if (left) wait(voice, { bytes, step: left })
    },
  }
}
