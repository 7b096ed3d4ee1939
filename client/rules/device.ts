// The engine of a device. Inputs (calls, frames, answers of the home) wait in one queue; a turn takes what is there,
// works on memory and a draft, encrypts and decrypts, writes everything in one transaction, and only then sends,
// answers and tells. So a ratchet step and its message are durable together, ciphertext and k before they are sent,
// and a cursor before it is acknowledged; and whatever happens between two turns is as if the second had not begun.
import {
  type ConvId,
  type HomeFrame,
  type Manifest,
  ParleyError,
  type Position,
  type SignedPrekeys,
  type UserId,
} from '#protocol'
import { QUEUE_MAX, TURN_INPUTS_MAX } from '../limits.ts'
import { type Conversation, lowestNotSafe, openConversation } from './conversation.ts'
import { type Core, newSession, newTurn, ownAuthorOf, type Poke, say, type Turn } from './core.ts'
import { newDraft } from './draft.ts'
import { type FrameParts, takeAnswer, takeFrame } from './home-frames.ts'
import { wantKept } from './inbound.ts'
import { type Answer, type LookUps, openLookUps } from './look-ups.ts'
import { markRead, tryKeptMark } from './marks.ts'
import { cancel, type JobLine, sendTo } from './outbound.ts'
import { openPeople } from './people.ts'
import { restartPipe } from './pipe.ts'
import type { DevicePorts, HomeSession } from './ports.ts'
import { keepPrekeys, type Prekeys } from './prekeys.ts'
import { openRows } from './rows.ts'
import { all } from './schema.ts'
import { sealWaiting } from './sealing.ts'
import { isNumbered } from './slot.ts'
import { sendFollowed, sendTurn } from './wire-out.ts'

export type OwnContent = { readonly kind: 'text' | 'data'; readonly body: Uint8Array }
export type Left = OwnContent & { readonly to: UserId; readonly k: number }
export type Sent = { readonly conv: ConvId; readonly k: number }

type Call = {
  readonly type: 'call'
  /** What the caller gets once it is committed. */
  readonly run: (turn: Turn) => unknown
  readonly resolve: (value: never) => void
  readonly reject: (error: Error) => void
}

type Input =
  | Call
  | Answer
  | { readonly type: 'online'; readonly home: HomeSession }
  | { readonly type: 'offline'; readonly home: HomeSession }
  | { readonly type: 'frame'; readonly home: HomeSession; readonly frame: HomeFrame }
  | { readonly type: 'prekeys'; readonly counts: { readonly oneTime: number; readonly oneTimeKyber: number } }
  | { readonly type: 'stocked'; readonly upload: SignedPrekeys }
  | { readonly type: 'poke'; readonly conv: Conversation; readonly what: Poke }

const ANSWERS: ReadonlySet<Input['type']> = new Set(['found', 'bundle', 'failed'])

/** These read tables that a turn has perhaps not written yet, so they begin a turn of their own. */
function beginsTurn(input: Input): boolean {
  return ANSWERS.has(input.type) || (input.type === 'frame' && input.frame.moves.length > 0)
}

export type Device = {
  /** Signed in. A session before it counts as ended. */
  online(home: HomeSession): void
  offline(home: HomeSession): void
  receive(home: HomeSession, frame: HomeFrame): void
  /** Resolves when k and content are durable, encrypted if that was possible. */
  send(to: UserId, content: OwnContent, job: JobLine | undefined): Promise<Sent>
  /** False when there is nothing to cancel any more. */
  cancel(conv: ConvId, k: number): Promise<boolean>
  markRead(conv: ConvId, upTo: Position): Promise<void>
  /** What the owner of the profile says about somebody. */
  describe(user: UserId, says: { name?: string; accepted?: boolean; verified?: boolean }): Promise<void>
  /** Asks the home who this is, if that is not known yet. */
  want(user: UserId): Promise<void>
  /** Verified records from elsewhere: the own manifest, a link. */
  learn(manifest: Manifest): Promise<void>
  /**
   * What an older registration of this device left without a number, all at once: new k, jobs that named the old ones
   * follow, and the row `resend` of the own table goes with it.
   */
  sayAgain(items: readonly Left[]): Promise<(Sent & { readonly was: number })[]>
  /** Conversations of which the home has more than has been taken; contents without a number. */
  status(): { readonly behind: number; readonly waiting: number }
  /** Resolves when nothing waits for a turn. */
  settled(): Promise<void>
  /** Nothing more is taken; resolves after the turn that is under way. */
  stop(): Promise<void>
}

class Engine {
  readonly #core: Core
  readonly #ports: DevicePorts
  readonly #lookUps: LookUps
  readonly #prekeys: Prekeys
  readonly #parts: FrameParts
  readonly #queue: Input[] = []
  #waiting: (() => void)[] = []
  #running = false
  #ended: Error | undefined

  constructor(ports: DevicePorts) {
    this.#ports = ports
    const people = openPeople(ports)
    this.#core = {
      ports,
      people,
      rows: openRows(ports.db),
      conversations: new Map(),
      direct: new Map(),
      ownAuthor: ownAuthorOf(ports.self),
      session: undefined,
      stopped: undefined,
      poke: (conv, what) => this.put({ type: 'poke', conv, what }),
    }
    this.#lookUps = openLookUps({
      ...ports,
      people,
      answer: (answer) => this.put(answer),
      again: (user) => this.#pokeAll(user),
    })
    this.#prekeys = keepPrekeys(this.#core, {
      counted: (counts) => this.put({ type: 'prekeys', counts }),
      stocked: (upload) => this.put({ type: 'stocked', upload }),
    })
    this.#parts = { core: this.#core, lookUps: this.#lookUps, prekeys: this.#prekeys }
    for (const row of all(ports.db, 'conversations')) {
      this.#core.conversations.set(row.conv, openConversation(ports.db, row, ports.self.userId))
    }
  }

  get core(): Core {
    return this.#core
  }

  put(input: Input): void {
    const refusal = this.#ended ?? (this.#queue.length >= QUEUE_MAX ? queueFull() : undefined)
    if (refusal) {
      if (input.type === 'call') input.reject(refusal)
      if (input.type === 'frame' && !this.#ended) input.home.end(queueFull())
      return
    }
    this.#queue.push(input)
    if (this.#running) return
    this.#running = true
    void Promise.resolve().then(() => this.#run())
  }

  call<T>(run: (turn: Turn) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.put({ type: 'call', run, resolve: resolve as (value: never) => void, reject })
    })
  }

  settled(): Promise<void> {
    if (!this.#running) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  async stop(): Promise<void> {
    this.#end(new ParleyError('closing', 'the profile is being closed'))
    await this.settled()
    sendFollowed(this.#core)
  }

  #end(error: Error): void {
    this.#ended ??= error
    this.#lookUps.offline()
    for (const input of this.#queue.splice(0)) if (input.type === 'call') input.reject(error)
  }

  #pokeAll(user: UserId): void {
    for (const conv of this.#core.conversations.values()) {
      if (conv.members.includes(user)) this.put({ type: 'poke', conv, what: 'touch' })
    }
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      try {
        await this.#turn()
      } catch (error) {
        const broken = error instanceof Error ? error : new Error(String(error))
        this.#end(broken)
        // What is in memory may not be written: nothing more may be said of it.
        this.#core.session = undefined
        this.#ports.events({ type: 'broken', error: broken })
      }
    }
    this.#running = false
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  #take(): Input[] {
    let count = 1
    if (!beginsTurn(this.#queue[0]!)) {
      while (count < Math.min(this.#queue.length, TURN_INPUTS_MAX) && !beginsTurn(this.#queue[count]!)) count++
    }
    return this.#queue.splice(0, count)
  }

  async #turn(): Promise<void> {
    const turn = newTurn(newDraft(this.#ports.db, this.#core.rows))
    const inputs = this.#take()
    try {
      for (const input of inputs) {
        if (this.#core.stopped) break
        const handling = this.#handle(turn, input)
        if (handling) await handling
      }
      if (!this.#core.stopped) await this.#seal(turn)
      this.#commit(turn)
    } catch (error) {
      for (const input of inputs) if (input.type === 'call') input.reject(error as Error)
      throw error
    }
    if (!this.#core.stopped) sendTurn(this.#core, turn)
    for (const then of turn.after) then()
    for (const event of turn.events) this.#ports.events(event)
    if (this.#core.stopped) this.#stopAsOldCopy(inputs)
  }

  #stopAsOldCopy(inputs: readonly Input[]): void {
    const error = new ParleyError('old_profile', 'this profile is an old copy of one that is in use')
    this.#core.session?.home.end(error)
    this.#core.session = undefined
    for (const input of inputs) if (input.type === 'call') input.reject(error)
    this.#end(error)
  }

  #commit(turn: Turn): void {
    for (const conversation of turn.marks) tryKeptMark(this.#core, turn, conversation)
    for (const { row } of turn.changed) turn.draft.put('conversations', row)
    this.#ports.db.transaction((tx) => {
      turn.draft.apply(tx)
      this.#ports.cipher.commit(tx)
    })
    turn.draft.committed()
  }

  async #seal(turn: Turn): Promise<void> {
    for (const conversation of turn.touched) {
      const more = await sealWaiting(this.#core, turn, conversation, this.#lookUps)
      if (more) turn.after.push(() => this.#core.poke(conversation, 'touch'))
    }
  }

  /** A promise where something may have to be waited for. */
  #handle(turn: Turn, input: Input): Promise<void> | undefined {
    switch (input.type) {
      case 'call':
        this.#handleCall(turn, input)
        return undefined
      case 'online':
        this.#online(turn, input.home)
        return undefined
      case 'offline':
        if (this.#core.session?.home === input.home) this.#offline()
        return undefined
      case 'frame':
        return this.#handleFrame(turn, input.home, input.frame)
      case 'prekeys':
        this.#prekeys.take(turn, input.counts)
        return undefined
      case 'stocked':
        this.#prekeys.stocked(turn, input.upload)
        return undefined
      case 'poke':
        turn.touched.add(input.conv)
        if (input.what === 'pull') turn.pulled.add(input.conv)
        if (input.what === 'rewind') turn.rewound.add(input.conv)
        if (input.what === 'acknowledge') turn.acknowledged.add(input.conv)
        return undefined
      case 'found':
      case 'bundle':
      case 'failed':
        return takeAnswer(this.#parts, turn, input)
    }
  }

  async #handleFrame(turn: Turn, home: HomeSession, frame: HomeFrame): Promise<void> {
    if (this.#core.session?.home !== home) return
    try {
      await takeFrame(this.#parts, turn, frame)
    } catch (error) {
      if (!(error instanceof ParleyError)) throw error
      home.end(error)
    }
  }

  #handleCall(turn: Turn, call: Call): void {
    try {
      const value = call.run(turn) as never
      turn.after.push(() => call.resolve(value))
    } catch (error) {
      if (!(error instanceof ParleyError)) throw error
      turn.after.push(() => call.reject(error))
    }
  }

  #online(turn: Turn, home: HomeSession): void {
    if (this.#core.session) this.#offline()
    // A home to which this person moved learns from their devices of what conversations there are.
    const isNewcomer = this.#core.people.homeGeneration(turn.draft, this.#core.ports.self.userId) > 1
    this.#core.session = newSession(home)
    for (const conversation of this.#core.conversations.values()) {
      restartPipe(conversation.pipe, lowestNotSafe(conversation))
      conversation.ref = 0
      conversation.behind = false
      conversation.askedAtMs = Number.NEGATIVE_INFINITY
      if (conversation.slots.size > 0) turn.touched.add(conversation)
      // Names the conversation even when nothing is to be sent: the home says again what is safe.
      if (conversation.slots.size > 0 || isNewcomer) turn.acknowledged.add(conversation)
      if (conversation.row.ownRead > conversation.row.ownReadTold) turn.marks.add(conversation)
    }
    this.#lookUps.online()
    for (const conversation of this.#core.conversations.values()) wantKept(this.#core, conversation, this.#lookUps)
    turn.after.push(() => this.#prekeys.count(home))
  }

  #offline(): void {
    this.#core.session = undefined
    this.#lookUps.offline()
  }

  want(user: UserId): void {
    if (!this.#core.people.peers(user)) this.#lookUps.want(user)
  }

  learn(turn: Turn, manifest: Manifest): void {
    const change = this.#core.people.learnManifest(turn.draft, manifest)
    if (change) say(turn, { type: 'contact-changed', user: manifest.userId, change })
  }
}

function queueFull(): ParleyError {
  return new ParleyError('overloaded', 'too much waits to be done', { limit: `${QUEUE_MAX}` })
}

function conversationNamed(core: Core, conv: ConvId): Conversation {
  const conversation = core.conversations.get(conv)
  if (!conversation) throw new ParleyError('unknown_conversation', 'no such conversation', { conv })
  return conversation
}

function sayAgain(core: Core, turn: Turn, items: readonly Left[]): (Sent & { was: number })[] {
  const jobs = all(core.ports.db, 'jobs')
  const sent = items.map(({ to, k: was, kind, body }) => {
    const { conversation, k } = sendTo(core, turn, to, { kind, body }, undefined)
    return { conv: conversation.id, k, was }
  })
  for (const { conv, k, was } of sent) {
    const job = jobs.find((row) => row.conv === conv && row.k === was)
    if (job) turn.draft.put('jobs', { ...job, k })
  }
  turn.draft.delete('self', ['resend'])
  return sent
}

function statusOf(core: Core): { behind: number; waiting: number } {
  let behind = 0
  let waiting = 0
  for (const conversation of core.conversations.values()) {
    if (conversation.behind) behind++
    for (const slot of conversation.slots.values()) if (!isNumbered(slot)) waiting++
  }
  return { behind, waiting }
}

export function createDevice(ports: DevicePorts): Device {
  const engine = new Engine(ports)
  const { core } = engine
  return {
    online: (home) => engine.put({ type: 'online', home }),
    offline: (home) => engine.put({ type: 'offline', home }),
    receive: (home, frame) => engine.put({ type: 'frame', home, frame }),
    send: (to, content, job) =>
      engine.call((turn) => {
        const { conversation, k } = sendTo(core, turn, to, content, job)
        return { conv: conversation.id, k }
      }),
    cancel: (conv, k) => engine.call((turn) => cancel(core, turn, conversationNamed(core, conv), k)),
    markRead: (conv, upTo) => engine.call((turn) => markRead(turn, conversationNamed(core, conv), upTo)),
    describe: (user, says) =>
      engine.call((turn) => turn.draft.put('contacts', { ...core.people.ensure(turn.draft, user), ...says })),
    want: (user) =>
      engine.call((turn) => {
        core.people.ensure(turn.draft, user)
        turn.after.push(() => engine.want(user))
      }),
    learn: (manifest) => engine.call((turn) => engine.learn(turn, manifest)),
    sayAgain: (items) => engine.call((turn) => sayAgain(core, turn, items)),
    status: () => statusOf(core),
    settled: () => engine.settled(),
    stop: () => engine.stop(),
  }
}
