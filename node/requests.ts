// Questions between nodes, beside the links: one stream per asking side carries requests with ids of its own, and
// answers in any order. What answers nothing that was asked on this very stream is dropped.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  type Clock,
  decode,
  errorOf,
  LinkRequestSchema,
  type LinkResponse,
  LinkResponseSchema,
  ParleyError,
  type RegionId,
  refusalOf,
} from '#protocol'
import {
  QUOTAS,
  REQUEST_ANSWERS_MAX_BYTES,
  REQUEST_FRAME_MAX_BYTES,
  REQUEST_HANDLER_MAX_MS,
  REQUEST_IDENTITY_WAIT_MS,
  REQUEST_PEERS_MAX,
  REQUEST_REPLIES_MAX_BYTES,
  REQUEST_REPLY_MIN_BYTES,
  REQUESTS_PER_PEER_MAX,
  REQUESTS_SERVED_PER_PEER_MAX,
  REQUESTS_UNKNOWN_BURST,
  REQUESTS_UNKNOWN_PER_SECOND,
  type RequestMethod,
  UNSOLICITED_MAX,
} from './limits.ts'
import type { LinkPipe } from './link.ts'
import type { PeerStream } from './link-network.ts'
import { createRateLimiter, type RateLimiter } from './rate.ts'
import type { NodeEvents, RequestHandler } from './types.ts'
import { FrameReader, frame } from './wire.ts'

const POLL_MS = 20
/** When many answers wait: by then a slow asker has read some. */
const UNREAD_RETRY_MS = 1_000
const NOTHING = new Uint8Array(0)

export type RequestNetwork = {
  dial(peerId: string): Promise<PeerStream>
  serve(accept: (stream: PeerStream) => void): void
}

/** What requests ask the links. */
export type RequestLinks = {
  regionOf(peerId: string): RegionId | undefined
  peerOf(region: RegionId): string | undefined
  reach(region: RegionId, timeoutMs: number): Promise<boolean>
}

export type Requests = {
  handle(method: RequestMethod, handler: RequestHandler): void
  request(region: RegionId, method: RequestMethod, body: Uint8Array, timeoutMs: number): Promise<Uint8Array>
  close(): void
}

export type RequestOptions = {
  readonly network: RequestNetwork
  readonly links: RequestLinks
  readonly clock: Clock
  readonly events: NodeEvents
}

const isMethod = (name: string): name is RequestMethod => Object.hasOwn(QUOTAS, name)

/** The asking side of a stream. */
class Asker {
  readonly #pending = new Map<
    number,
    { resolve(body: Uint8Array): void; reject(error: ParleyError): void; maxBytes: number }
  >()
  readonly #reader = new FrameReader()
  readonly #pipe: LinkPipe
  readonly #onEnd: () => void
  #last = 0
  #unsolicited = 0
  ended = false

  constructor(stream: PeerStream, onEnd: () => void) {
    this.#onEnd = onEnd
    this.#pipe = stream.open({
      received: (chunk) => this.#received(chunk),
      drained: () => undefined,
      closed: (error) => this.end(error ?? new ParleyError('unreachable', 'the peer closed the stream')),
    })
  }

  ask(method: RequestMethod, body: Uint8Array, clock: Clock, timeoutMs: number): Promise<Uint8Array> {
    if (this.ended) throw new ParleyError('unreachable', 'the stream ended before anything was asked')
    if (this.#pending.size >= REQUESTS_PER_PEER_MAX) {
      throw new ParleyError('overloaded', 'too many requests to this peer at once', {
        limit: `${REQUESTS_PER_PEER_MAX}`,
      })
    }
    this.#last = (this.#last % 0xffff_ffff) + 1
    const id = this.#last
    return new Promise((resolve, reject) => {
      const timer = clock.after(timeoutMs, () =>
        settle(() => reject(new ParleyError('timeout', `no answer to ${method} in time`))),
      )
      const settle = (end: () => void): void => {
        timer.cancel()
        this.#pending.delete(id)
        end()
      }
      this.#pending.set(id, {
        resolve: (answer) => settle(() => resolve(answer)),
        reject: (error) => settle(() => reject(error)),
        maxBytes: QUOTAS[method].responseMaxBytes,
      })
      this.#pipe.write(frame(toBinary(LinkRequestSchema, create(LinkRequestSchema, { id, method, body }))))
    })
  }

  end(error: ParleyError): void {
    if (this.ended) return
    this.ended = true
    this.#pipe.end()
    this.#onEnd()
    for (const pending of [...this.#pending.values()]) pending.reject(error)
  }

  #received(chunk: Uint8Array): void {
    try {
      this.#reader.push(chunk)
      for (;;) {
        const bytes = this.#reader.next(REQUEST_FRAME_MAX_BYTES)
        if (!bytes || this.ended) return
        this.#answer(decode(LinkResponseSchema, bytes, REQUEST_FRAME_MAX_BYTES))
      }
    } catch (error) {
      if (!(error instanceof ParleyError)) throw error
      this.end(error)
    }
  }

  #answer(response: LinkResponse): void {
    const pending = this.#pending.get(response.id)
    if (!pending) {
      if (++this.#unsolicited > UNSOLICITED_MAX) throw new ParleyError('malformed', 'answers that nobody asked for')
      return
    }
    if (response.refusal) pending.reject(errorOf(response.refusal))
    else if (response.body.length > pending.maxBytes) {
      pending.reject(new ParleyError('too_large', 'answer over the limit', { limit: `${pending.maxBytes}` }))
    } else pending.resolve(response.body)
  }
}

/** What leaves on the serving side of a stream. It waits here while the asker does not read: libp2p would take it all. */
class Replies {
  readonly #pipe: LinkPipe
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #blocked = false

  constructor(pipe: LinkPipe) {
    this.#pipe = pipe
  }

  hasRoomFor(bytes: number): boolean {
    return !this.#blocked || this.#waitingBytes + bytes <= REQUEST_ANSWERS_MAX_BYTES
  }

  /** False when more waits than may. */
  send(reply: Uint8Array): boolean {
    if (!this.#blocked) {
      this.#blocked = !this.#pipe.write(reply)
      return true
    }
    this.#waiting.push(reply)
    this.#waitingBytes += costOf(reply)
    return this.#waitingBytes <= REQUEST_REPLIES_MAX_BYTES
  }

  drained(): void {
    if (!this.#blocked) return
    // The stream says so as soon as a few bytes may leave. Writing nothing tells whether all that it has did.
    this.#blocked = !this.#pipe.write(NOTHING)
    while (!this.#blocked) {
      const reply = this.#waiting.shift()
      if (!reply) return
      this.#waitingBytes -= costOf(reply)
      this.#blocked = !this.#pipe.write(reply)
    }
  }

  clear(): void {
    this.#waiting = []
    this.#waitingBytes = 0
  }
}

const costOf = (reply: Uint8Array): number => Math.max(reply.length, REQUEST_REPLY_MIN_BYTES)

export function createRequests({ network, links, clock, events }: RequestOptions): Requests {
  const handlers = new Map<RequestMethod, RequestHandler>()
  const askers = new Map<string, Promise<Asker>>()
  const rates = new Map<RequestMethod, RateLimiter>()
  for (const [method, { perSecond, burst }] of Object.entries(QUOTAS) as [
    RequestMethod,
    (typeof QUOTAS)[RequestMethod],
  ][]) {
    rates.set(method, createRateLimiter(clock, perSecond, burst, REQUEST_PEERS_MAX))
  }

  const unknown = createRateLimiter(clock, REQUESTS_UNKNOWN_PER_SECOND, REQUESTS_UNKNOWN_BURST, REQUEST_PEERS_MAX)

  const regionOf = async (peerId: string): Promise<RegionId | undefined> => {
    // The link's hello and the first request travel on different streams: the hello may come a moment later.
    for (let waited = 0; waited < REQUEST_IDENTITY_WAIT_MS; waited += POLL_MS) {
      const region = links.regionOf(peerId)
      if (region) return region
      await new Promise<void>((resolve) => void clock.after(POLL_MS, resolve))
    }
    return undefined
  }

  const answer = async (peerId: string, name: string, body: Uint8Array): Promise<Uint8Array> => {
    // Before anything else: what is refused costs the asker as well.
    const waitMs = (isMethod(name) ? rates.get(name)! : unknown).take(peerId)
    const method = name.slice(0, 32)
    if (waitMs > 0) throw new ParleyError('overloaded', 'too many requests', { method }, waitMs)
    const handler = isMethod(name) ? handlers.get(name) : undefined
    if (!handler || !isMethod(name)) throw new ParleyError('not_found', 'no such method here', { method })
    const quota = QUOTAS[name]
    if (body.length > quota.requestMaxBytes)
      throw new ParleyError('too_large', 'request over the limit', { limit: `${quota.requestMaxBytes}` })
    const region = links.regionOf(peerId) ?? (quota.anonymous ? undefined : await regionOf(peerId))
    if (!region && !quota.anonymous)
      throw new ParleyError('unauthorized', 'only nodes of a region may ask this', { method: name })
    const { promise, reject } = Promise.withResolvers<never>()
    const timer = clock.after(REQUEST_HANDLER_MAX_MS, () =>
      reject(new ParleyError('timeout', 'the answer took too long')),
    )
    try {
      const result = await Promise.race([handler({ peerId, region }, body), promise])
      if (result.length > quota.responseMaxBytes) throw new Error(`answer to ${name} of ${result.length} bytes`)
      return result
    } finally {
      timer.cancel()
    }
  }

  const accept = (stream: PeerStream): void => {
    const reader = new FrameReader()
    let open = 0
    /** In a row: nobody who waits for answers has more of them on the way. */
    let beyond = 0
    let over = false
    const end = (): void => {
      over = true
      replies.clear()
      pipe.end()
    }
    const reply = (id: number, response: { body: Uint8Array } | { refusal: ReturnType<typeof refusalOf> }): void => {
      if (over) return
      const bytes = frame(toBinary(LinkResponseSchema, create(LinkResponseSchema, { id, ...response })))
      if (!replies.send(bytes)) end()
    }
    const refuse = (id: number, method: string, error: unknown): void => {
      const known = error instanceof ParleyError ? error : new ParleyError('closing', 'an error at this side')
      events.requestRefused(isMethod(method) ? method : 'unknown', known.code)
      reply(id, { refusal: refusalOf(known) })
      if (known !== error) events.storageFailed(error)
    }
    const serve = (bytes: Uint8Array): void => {
      const { id, method, body } = decode(LinkRequestSchema, bytes, REQUEST_FRAME_MAX_BYTES)
      if (open >= REQUESTS_SERVED_PER_PEER_MAX) {
        if (++beyond > REQUESTS_PER_PEER_MAX) throw new ParleyError('overloaded', 'requests that wait for no answer')
        refuse(id, method, new ParleyError('overloaded', 'too many requests at once'))
        return
      }
      beyond = 0
      open++
      answer(stream.peerId, method, body)
        .then(
          (result) =>
            replies.hasRoomFor(result.length)
              ? reply(id, { body: result })
              : refuse(id, method, new ParleyError('overloaded', 'too many unread answers', {}, UNREAD_RETRY_MS)),
          (error: unknown) => refuse(id, method, error),
        )
        .finally(() => open--)
    }
    const pipe = stream.open({
      received(chunk) {
        try {
          reader.push(chunk)
          for (
            let bytes = reader.next(REQUEST_FRAME_MAX_BYTES);
            bytes && !over;
            bytes = reader.next(REQUEST_FRAME_MAX_BYTES)
          )
            serve(bytes)
        } catch (error) {
          end()
          if (!(error instanceof ParleyError)) throw error
        }
      },
      drained: () => {
        if (!over) replies.drained()
      },
      closed: () => {
        over = true
        replies.clear()
      },
    })
    const replies = new Replies(pipe)
  }
  network.serve(accept)

  const asker = (peerId: string): Promise<Asker> => {
    const kept = askers.get(peerId)
    if (kept) return kept
    const fresh = network.dial(peerId).then((stream) => new Asker(stream, () => askers.delete(peerId)))
    askers.set(peerId, fresh)
    fresh.catch(() => askers.delete(peerId))
    return fresh
  }

  return {
    handle(method, handler) {
      if (handlers.has(method)) throw new Error(`${method} has a handler already`)
      handlers.set(method, handler)
    },
    async request(region, method, body, timeoutMs) {
      const until = clock.monotonic() + timeoutMs
      if (body.length > QUOTAS[method].requestMaxBytes)
        throw new ParleyError('too_large', 'request over the limit', { limit: `${QUOTAS[method].requestMaxBytes}` })
      await links.reach(region, timeoutMs)
      const peerId = links.peerOf(region)
      if (!peerId) throw new ParleyError('unreachable', 'no node of this region can be reached', { region })
      const left = until - clock.monotonic()
      return (await asker(peerId)).ask(method, body, clock, Math.max(1, left))
    },
    close() {
      for (const kept of askers.values())
        kept.then((one) => one.end(new ParleyError('closing', 'the node is closing'))).catch(() => undefined)
    },
  }
}
