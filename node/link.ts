// One link: a stream between two nodes, from the first byte to the end of it, as a state machine over bytes. It opens
// no socket and sets no timer: whoever owns it hands in chunks and ticks, so it runs as well in the simulator.
//
// What wants to leave in the same moment leaves in one batch: `send` only queues. Where little goes, what the first step
// of a moment said leaves as soon as that step is done, and what others say, when the moment is over (`defer`); where much
// goes, all of it then, or when the stream takes bytes again. So an idle link adds no delay, and a busy one makes ever
// larger batches. Bytes in flight are bounded by the receiver's credit, those queued by a limit.
import { create } from '@bufbuild/protobuf'
import { errorOf, type LinkBatch, type LinkHello, LinkHelloSchema, ParleyError, type SignedRecord } from '#protocol'
import {
  LINK_BUSY_BYTES,
  LINK_CONTROL_FRAMES_MAX,
  LINK_CREDIT_BYTES,
  LINK_CREDIT_STEP_BYTES,
  LINK_FRAME_MAX_BYTES,
  LINK_HEARTBEAT_MS,
  LINK_HELLO_MAX_BYTES,
  LINK_HELLO_MAX_MS,
  LINK_SILENCE_MAX_MS,
  LINK_VERSION,
} from './limits.ts'
import { decodeFrame, encodeCredit, encodeHello, encodePing, encodePong, encodeRefusal } from './link-codec.ts'
import { LinkNamesRead } from './link-names.ts'
import { ensureItemFits, LinkQueue } from './link-queue.ts'
import type { LinkItem } from './types.ts'
import { FrameReader } from './wire.ts'

/** The way out. */
export type LinkPipe = {
  /** False: full; nothing more until `drained`. */
  write(bytes: Uint8Array): boolean
  /** Sends what was written, then ends the stream. `silent`: nothing is heard of the peer, nor will it hear anything. */
  end(silent?: boolean): void
}

/** What a link tells its owner. */
export type LinkOwner = {
  /** Checks who the peer is; throws the ParleyError with which it is refused. Then the link is up. */
  hello(hello: LinkHello): void
  items(items: LinkItem[]): void | Promise<void>
  /** Once, whatever happened. `fault`: the error is ours, about what the peer did. */
  ended(error: ParleyError | undefined, fault: boolean): void
}

export type LinkIntroduction = {
  readonly bootNonce: Uint8Array
  readonly certificate: SignedRecord | undefined
  readonly timeMs: number
}

type Phase = 'hello' | 'up' | 'ended'

export class Link {
  #phase: Phase = 'hello'
  readonly #pipe: LinkPipe
  readonly #owner: LinkOwner
  readonly #defer: (callback: () => void) => void
  readonly #reader = new FrameReader()
  // out
  readonly #out = new LinkQueue()
  #blocked = false
  #busy = false
  #gathering = false
  /** Nothing has left in this moment yet. */
  #first = false
  #more = false
  #pongDue: number | undefined
  // in
  readonly #namesRead = new LinkNamesRead()
  #received = 0
  #receivedBytes = 0
  #consumedBytes = 0
  #creditedBytes = 0
  #waiting: LinkBatch[] = []
  #waitingBytes: number[] = []
  #consuming = false
  #controlFrames = 0
  #openedAt: number
  #heardAt: number
  #pingedAt: number
  #tickedAt: number

  constructor(
    pipe: LinkPipe,
    owner: LinkOwner,
    introduction: LinkIntroduction,
    nowMonotonic: number,
    defer: (callback: () => void) => void,
  ) {
    this.#pipe = pipe
    this.#owner = owner
    this.#defer = defer
    this.#openedAt = this.#heardAt = this.#pingedAt = this.#tickedAt = nowMonotonic
    const { bootNonce, certificate, timeMs } = introduction
    const hello = create(LinkHelloSchema, {
      version: LINK_VERSION,
      bootNonce,
      timeMs: BigInt(Math.floor(timeMs)),
      ...(certificate ? { certificate } : {}),
    })
    this.#write([encodeHello(hello)])
  }

  get isUp(): boolean {
    return this.#phase === 'up'
  }

  /** Bytes queued and in flight that the peer has not consumed. */
  get backlog(): number {
    return this.#out.backlog
  }

  /** False when nothing was queued: not up, or full. */
  send(item: LinkItem): boolean {
    ensureItemFits(item)
    if (this.#phase !== 'up' || !this.#out.push(item)) return false
    this.#flushSoon()
    return true
  }

  /** Bytes came. */
  received(chunk: Uint8Array, nowMonotonic: number): void {
    if (this.#phase === 'ended') return
    this.#heardAt = nowMonotonic
    this.#guarded(() => {
      this.#reader.push(chunk)
      for (;;) {
        const limit = this.#phase === 'hello' ? LINK_HELLO_MAX_BYTES : LINK_FRAME_MAX_BYTES
        const bytes = this.#reader.next(limit)
        if (!bytes) return
        this.#frame(bytes, limit)
        if ((this.#phase as Phase) === 'ended') return
      }
    })
  }

  /** The stream takes bytes again. */
  drained(): void {
    this.#blocked = false
    this.#flushSoon()
  }

  /** The stream ended. `error`: it broke, rather than being closed by the other side. */
  closed(error: ParleyError | undefined): void {
    if (this.#phase === 'ended') return
    const { pending } = this.#reader
    const truncated =
      pending > 0
        ? new ParleyError('malformed', 'the stream ended inside a batch', { pending: `${pending}` })
        : undefined
    this.#end(error ?? truncated, truncated !== undefined && error === undefined)
  }

  /** Ends it from this side, telling the peer why. */
  cut(error: ParleyError): void {
    if (this.#phase === 'ended') return
    this.#write([encodeRefusal(error)])
    this.#end(error, false)
  }

  /** Called every so often by the owner: heartbeat, time limits. */
  tick(nowMonotonic: number): void {
    if (this.#phase === 'ended') return
    // A process that stood still has heard nothing because it did not listen.
    const paused = nowMonotonic - this.#tickedAt - LINK_HEARTBEAT_MS
    this.#tickedAt = nowMonotonic
    if (paused > 0) {
      this.#heardAt += paused
      this.#openedAt += paused
    }
    this.#controlFrames = 0
    if (this.#phase === 'hello' && nowMonotonic - this.#openedAt > LINK_HELLO_MAX_MS) {
      this.cut(new ParleyError('timeout', 'no hello in time'))
    } else if (nowMonotonic - this.#heardAt > LINK_SILENCE_MAX_MS) {
      this.#end(new ParleyError('timeout', 'nothing heard from the peer'), false, true)
    } else if (this.#phase === 'up' && !this.#blocked) {
      if (this.#consumedBytes > this.#creditedBytes) this.#flushSoon()
      if (nowMonotonic - this.#pingedAt < LINK_HEARTBEAT_MS) return
      this.#pingedAt = nowMonotonic
      this.#write([encodePing(1)])
    }
  }

  #guarded(step: () => void): void {
    try {
      step()
    } catch (error) {
      this.#fault(error)
    }
  }

  #fault(error: unknown): void {
    if (this.#phase === 'ended') return
    if (!(error instanceof ParleyError)) {
      this.#write([encodeRefusal(new ParleyError('closing', 'an error at this side'))])
      this.#end(new ParleyError('closing', 'an error at this side'), false)
      throw error
    }
    this.#write([encodeRefusal(error)])
    this.#end(error, true)
  }

  #end(error: ParleyError | undefined, fault: boolean, silent = false): void {
    this.#phase = 'ended'
    this.#out.clear()
    this.#waiting = []
    this.#pipe.end(silent)
    this.#owner.ended(error, fault)
  }

  #frame(bytes: Uint8Array, limit: number): void {
    const what = decodeFrame(bytes, limit)
    if (this.#phase === 'hello' && what.case !== 'hello' && what.case !== 'refusal') {
      throw new ParleyError('malformed', 'a link begins with hello')
    }
    if (what.case !== 'batch' && ++this.#controlFrames > LINK_CONTROL_FRAMES_MAX) {
      throw new ParleyError('too_many', 'link control frames', { limit: `${LINK_CONTROL_FRAMES_MAX}` })
    }
    switch (what.case) {
      case 'hello':
        this.#hello(what.value)
        break
      case 'batch':
        this.#batch(what.value, bytes.length)
        break
      case 'credit':
        this.#credit(Number(what.value.consumedBytes))
        break
      case 'ping':
        this.#pongDue = what.value
        this.#flushSoon()
        break
      case 'refusal':
        this.#refused(errorOf(what.value))
        break
      case 'pong':
        break
    }
  }

  #refused(error: ParleyError): void {
    this.#end(error.code === 'closing' ? undefined : error, false)
  }

  #hello(hello: LinkHello): void {
    if (this.#phase === 'up') throw new ParleyError('malformed', 'a second hello')
    if (hello.version !== LINK_VERSION) throw new ParleyError('malformed', `link version ${hello.version}`)
    if (hello.bootNonce.length !== 16) throw new ParleyError('malformed', 'boot nonce of the wrong length')
    // Up before the owner hears of it, so that what it sends at once is queued; down again if it refuses.
    this.#phase = 'up'
    this.#owner.hello(hello)
  }

  #credit(consumed: number): void {
    this.#out.consumed(consumed)
    if (this.#out.isWaiting) this.#flushSoon()
  }

  #batch(batch: LinkBatch, bytes: number): void {
    if (batch.number !== this.#received + 1) {
      throw new ParleyError('malformed', 'a batch is missing or came twice', {
        expected: `${this.#received + 1}`,
        number: `${batch.number}`,
      })
    }
    this.#received = batch.number
    this.#receivedBytes += bytes
    if (this.#receivedBytes - this.#creditedBytes > LINK_CREDIT_BYTES + LINK_FRAME_MAX_BYTES) {
      throw new ParleyError('too_large', 'more in flight than the credit allows', { limit: `${LINK_CREDIT_BYTES}` })
    }
    this.#waiting.push(batch)
    this.#waitingBytes.push(bytes)
    this.#consume()
  }

  #consume(): void {
    while (!this.#consuming && this.#phase === 'up') {
      const batch = this.#waiting.shift()
      if (!batch) return
      const bytes = this.#waitingBytes.shift()!
      const items = this.#namesRead.resolve(batch)
      const done = this.#owner.items(items)
      if (done === undefined) {
        this.#consumed(bytes)
        continue
      }
      this.#consuming = true
      done.then(
        () => {
          this.#consuming = false
          if (this.#phase === 'ended') return
          this.#consumed(bytes)
          this.#guarded(() => this.#consume())
        },
        (error) => this.#fault(error),
      )
    }
  }

  /** Credit goes with what leaves anyway, else when it has become worth a frame, else with the next tick. */
  #consumed(bytes: number): void {
    this.#consumedBytes += bytes
    if (this.#consumedBytes - this.#creditedBytes >= LINK_CREDIT_STEP_BYTES) this.#flushSoon()
  }

  /** What was sent so far may leave, unless there is much; without a word it does when the step that sent it is over. */
  stepDone(): void {
    if (!this.#first) return
    this.#first = false
    this.#flush()
  }

  #flushSoon(): void {
    if (this.#blocked) return
    this.#more = true
    if (this.#gathering) return
    this.#gathering = true
    this.#first = !this.#busy
    if (this.#first) queueMicrotask(() => this.stepDone())
    this.#defer(() => {
      this.#gathering = false
      this.#first = false
      this.#busy = this.#flush() > LINK_BUSY_BYTES
    })
  }

  /** Returns the bytes that left. */
  #flush(): number {
    if (!this.#more || this.#phase !== 'up') return 0
    this.#more = false
    const out: Uint8Array[] = []
    if (this.#pongDue !== undefined) out.push(encodePong(this.#pongDue))
    this.#pongDue = undefined
    if (this.#consumedBytes > this.#creditedBytes) {
      this.#creditedBytes = this.#consumedBytes
      out.push(encodeCredit(this.#consumedBytes, this.#received))
    }
    let bytes = 0
    do {
      const batch = this.#blocked ? undefined : this.#out.nextBatch()
      if (batch) out.push(batch)
      if (out.length === 0) break
      bytes += this.#write(out.splice(0))
    } while (!this.#blocked && this.#phase === 'up')
    return bytes
  }

  #write(frames: readonly Uint8Array[]): number {
    const bytes = frames.length === 1 ? frames[0]! : Buffer.concat(frames)
    if (!this.#pipe.write(bytes)) this.#blocked = true
    return bytes.length
  }
}
