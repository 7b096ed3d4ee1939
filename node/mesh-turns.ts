// Whose message is heard next when mesh sockets bring more than can be handled before anything else has its turn. A message
// costs what it sets off: deciphering, then promises, a stream opened, a record verified, long after the call that handed
// it over. So the next one is handed over when all of that is done, and when a pass of the loop has taken MESH_TURN_MS in
// this way the rest waits for the next pass; whoever had little of the node's time lately goes first, the others one
// piece each in turn. A socket with much waiting is not read.
//
// Two hundred streams can be opened by one message of a few kilobytes, and as many bytes of a batch cost nothing. So a
// message is handed over in pieces, small ones at first, larger ones for as long as they are cheap.
import { createFairLine } from '#protocol'
import {
  MESH_LOUD_SHARE,
  MESH_PIECE_MAX_BYTES,
  MESH_PIECE_MIN_BYTES,
  MESH_TURN_MS,
  MESH_WAITING_MAX_BYTES,
} from './limits.ts'

export type Speaker = {
  hold(): void
  release(): void
}

/** Hands over the next piece, which should be no larger than `most`; returns what is left. Bytes. */
export type HandOver = (most: number) => number

export type MeshTurns = {
  /** Hands over, now or when it is the speaker's turn; what one speaker says stays in its order. */
  say(speaker: Speaker, bytes: number, handOver: HandOver): void
  /** Nothing that waits is handed over any more. */
  forget(speaker: Speaker): void
}

export type MeshTurnsPorts = {
  readonly clock: { monotonic(): number }
  /** Calls back after sockets were read. */
  readonly nextPass: (callback: () => void) => void
  /** Calls back when all that was set off until now is done, before sockets are read. */
  readonly whenSettled: (callback: () => void) => void
}

type Waiting = { bytes: number; readonly handOver: HandOver }
type Voice = {
  readonly speaker: Speaker
  loudUntilMs: number
  /** What it costs a bounded time to hear, as far as is known. */
  pieceBytes: number
  readonly waiting: Waiting[]
  bytes: number
  held: boolean
}

/** Of a piece, after one that was cheap. */
const GROWTH = 8

function nextPiece(most: number, bytes: number, tookMs: number): number {
  if (tookMs > MESH_TURN_MS) return Math.max(MESH_PIECE_MIN_BYTES, Math.floor(most / 2))
  const wasCheap = bytes === most && tookMs < MESH_TURN_MS / 4
  return wasCheap ? Math.min(most * GROWTH, MESH_PIECE_MAX_BYTES) : most
}

export function createMeshTurns({ clock, nextPass, whenSettled }: MeshTurnsPorts): MeshTurns {
  const voices = new WeakMap<Speaker, Voice>()
  /** Those who have something waiting, in the order in which their turns come. */
  const line = createFairLine<Voice>(clock, MESH_LOUD_SHARE)
  /** Since when messages are heard in this pass; undefined: none was yet. */
  let sinceMs: number | undefined
  let hearing: Voice | undefined

  const hear = (voice: Voice): void => {
    const [message] = voice.waiting as [Waiting]
    const from = clock.monotonic()
    const before = message.bytes
    hearing = voice
    whenSettled(() => {
      const now = clock.monotonic()
      line.heard(voice, from, now - from)
      voice.pieceBytes = nextPiece(voice.pieceBytes, before - message.bytes, now - from)
      hearing = undefined
      if (voice.waiting.length > 0) line.join(voice)
      else if (voice.held) {
        voice.held = false
        voice.speaker.release()
      }
      goOn(now)
    })
    message.bytes = message.handOver(voice.pieceBytes)
    if (voice.waiting[0] !== message) return
    voice.bytes -= before - message.bytes
    if (message.bytes === 0) voice.waiting.shift()
  }

  /** The next one, if this pass has time for it. */
  const goOn = (nowMs: number): void => {
    if (hearing) return
    sinceMs ??= pass(nowMs)
    if (nowMs - sinceMs >= MESH_TURN_MS) return
    const voice = line.next()
    if (voice) hear(voice)
  }

  const pass = (nowMs: number): number => {
    nextPass(() => {
      sinceMs = undefined
      if (line.size > 0) goOn(clock.monotonic())
    })
    return nowMs
  }

  return {
    say(speaker, bytes, handOver) {
      let voice = voices.get(speaker)
      if (!voice) {
        voice = { speaker, loudUntilMs: 0, pieceBytes: MESH_PIECE_MIN_BYTES, waiting: [], bytes: 0, held: false }
        voices.set(speaker, voice)
      }
      voice.waiting.push({ bytes, handOver })
      voice.bytes += bytes
      if (voice.waiting.length === 1 && hearing !== voice) line.join(voice)
      goOn(clock.monotonic())
      if (voice.held || voice.waiting.length === 0 || voice.bytes < MESH_WAITING_MAX_BYTES) return
      voice.held = true
      speaker.hold()
    },
    forget(speaker) {
      const voice = voices.get(speaker)
      if (!voice) return
      voice.waiting.length = 0
      voice.bytes = 0
      line.leave(voice)
    },
  }
}
