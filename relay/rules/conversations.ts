// The conversations that are in use: loaded once, changed in memory by synchronous steps, written back when a commit is
// closed. While one is being loaded its steps wait in order; everybody else goes on.
import type { ConvId, RegionId, UserId } from '#protocol'
import type { Store } from '../store/types.ts'
import type { Author, Conversation, Register } from './conversation.ts'
import {
  blockKey,
  HEAD_KEY,
  KEPT,
  loadConversation,
  newConversation,
  registerName,
  STATE_KEY,
  writeHead,
  writeRegister,
  writeState,
} from './conversation-rows.ts'
import { owesDelivered } from './delivered.ts'
import type { Founding } from './founding.ts'
import type { Inboxes } from './inboxes.ts'

/** Waits for something to be read, then goes on in a turn of its own; a failed read ends the node. */
export type Load = <T>(reading: Promise<T>, then: (value: T) => void) => void

export type Step = (conv: Conversation | undefined) => void

export class Conversations {
  readonly #store: Store
  readonly #here: RegionId
  readonly #loadedMax: number
  readonly #loaded = new Map<ConvId, Conversation>()
  readonly #byUser = new Map<UserId, Set<Conversation>>()
  readonly #loading = new Map<ConvId, Step[]>()
  readonly #dirty = new Set<Conversation>()
  readonly #holding = new Set<Conversation>()
  readonly #inboxes: Inboxes
  /** Heads of the commits under way: what is settled when they count. */
  readonly #heads: { commit: number; conv: Conversation; head: Conversation['head'] }[] = []
  readonly #load: Load
  readonly #opened: (conv: Conversation) => void
  readonly #life: (founding?: Founding) => number

  /**
   * `opened`: a conversation was read from rows, or may have been here; what signals had said of it is to be heard again. `life`: of the store,
   * or that in which a conversation began that is founded.
   */
  constructor(
    store: Store,
    inboxes: Inboxes,
    here: RegionId,
    loadedMax: number,
    load: Load,
    opened: (conv: Conversation) => void,
    life: (founding?: Founding) => number,
  ) {
    this.#store = store
    this.#inboxes = inboxes
    this.#here = here
    this.#loadedMax = loadedMax
    this.#load = load
    this.#opened = opened
    this.#life = life
  }

  /** Runs the step at once if the conversation is in memory, else when it has been read; `undefined` if there is none. */
  with(id: ConvId, step: Step): void {
    const waiting = this.#loading.get(id)
    if (waiting) {
      waiting.push(step)
      return
    }
    const conv = this.#loaded.get(id)
    if (conv) {
      step(conv)
      return
    }
    const steps = [step]
    this.#loading.set(id, steps)
    this.#load(this.#read(id), (found) => {
      this.#loading.delete(id)
      if (found) {
        this.#keep(found)
        this.#opened(found)
      }
      for (const next of steps) next(this.#loaded.get(id))
    })
  }

  /** With the inbox rows of its local members: what a step needs is loaded before. */
  async #read(id: ConvId): Promise<Conversation | undefined> {
    const conv = await loadConversation(this.#store, id, this.#here)
    if (!conv) return undefined
    for (const member of conv.members) if (member.local) await this.#inboxes.load(conv, member)
    return conv
  }

  get(id: ConvId): Conversation | undefined {
    return this.#loaded.get(id)
  }

  loaded(): Iterable<Conversation> {
    return this.#loaded.values()
  }

  /** Those in memory of which somebody is a member. */
  loadedOf(user: UserId): readonly ConvId[] {
    return Array.from(this.#byUser.get(user) ?? [], ({ id }) => id)
  }

  /** A conversation that this node did not have. */
  found(founding: Founding): Conversation {
    const conv = newConversation(founding, this.#here, this.#life(founding))
    this.#keep(conv)
    this.changed(conv)
    // It may have gone on without this store.
    if (conv.life < this.#life()) this.#opened(conv)
    return conv
  }

  /** A conversation that was built up from what another region has; takes the place of one that had left. */
  adopt(conv: Conversation): void {
    const before = this.#loaded.get(conv.id)
    if (before) {
      this.#dirty.delete(before)
      this.#unlist(before)
      conv.kept = before.kept
    }
    this.#keep(conv)
    this.moved(conv)
  }

  /** What hardly ever changes has changed. */
  moved(conv: Conversation): void {
    conv.stateDirty = true
    this.changed(conv)
    // At once, so that what is said of it waits for this commit: nothing else may be written in this turn.
    this.#store.put(conv.partition, STATE_KEY, writeState(conv, this.#here))
  }

  #keep(conv: Conversation): void {
    this.#loaded.set(conv.id, conv)
    for (const { userId } of conv.members) {
      const listed = this.#byUser.get(userId)
      if (listed) listed.add(conv)
      else this.#byUser.set(userId, new Set([conv]))
    }
  }

  #unlist(conv: Conversation): void {
    for (const { userId } of conv.members) {
      const listed = this.#byUser.get(userId)
      listed?.delete(conv)
      if (listed?.size === 0) this.#byUser.delete(userId)
    }
  }

  /** Between turns: what is idle goes, oldest first; a conversation that is waited for or owed stays. */
  evict(): void {
    let looked = 0
    for (const [id, conv] of this.#loaded) {
      if (this.#loaded.size <= this.#loadedMax || looked++ > 64) return
      const busy =
        conv.dirty || conv.pins > 0 || conv.settled !== conv.head || this.#inboxes.isChanging(conv) || isOwed(conv)
      this.#loaded.delete(id)
      if (busy) this.#loaded.set(id, conv)
      else this.#unlist(conv)
    }
  }

  changed(conv: Conversation): void {
    if (conv.dirty && this.#dirty.has(conv)) return
    conv.dirty = true
    this.#dirty.add(conv)
  }

  putRegister(conv: Conversation, update: Omit<Register, 'gate'>): Register {
    const name = registerName(update)
    this.changed(conv)
    this.#store.put(conv.partition, `m${name}`, writeRegister(update))
    const register = { ...update, gate: this.#store.gate() }
    conv.registers.set(name, register)
    return register
  }

  /** Something is held of it, or nothing any more: whether it is listed as kept goes with the next commit. */
  holds(conv: Conversation): void {
    this.#holding.add(conv)
  }

  /** Writes what changed into the commit that is being closed. */
  closing(commit: number): void {
    for (const conv of this.#holding) if (this.#isKept(conv) !== conv.kept) this.changed(conv)
    this.#holding.clear()
    for (const conv of this.#dirty) {
      this.#listKept(conv)
      if (conv.stateDirty) this.#store.put(conv.partition, STATE_KEY, writeState(conv, this.#here))
      this.#store.put(conv.partition, HEAD_KEY, writeHead(conv))
      conv.stateDirty = false
      conv.dirty = false
      for (const author of conv.authors.values()) this.#writeWindow(conv, author)
      this.#heads.push({ commit, conv, head: conv.head })
    }
    this.#dirty.clear()
  }

  #isKept(conv: Conversation): boolean {
    const inboxes = this.#inboxes
    if (conv.retiring || conv.low < conv.head || owesDelivered(conv, inboxes) || inboxes.waitsForNobody(conv))
      return true
    for (const { run } of conv.authors.values()) if (run.length > 0) return true
    return false
  }

  #listKept(conv: Conversation): void {
    const kept = this.#isKept(conv)
    if (kept === conv.kept) return
    conv.kept = kept
    if (kept) this.#store.put(KEPT, conv.id, new Uint8Array(0))
    else this.#store.delete(KEPT, conv.id)
  }

  #writeWindow(conv: Conversation, author: Author): void {
    const { window } = author
    if (window.dirty.size === 0) return
    for (const block of window.dirty) {
      const bytes = window.write(block)
      if (bytes) this.#store.put(conv.partition, blockKey(author, block), bytes)
      else this.#store.delete(conv.partition, blockKey(author, block))
    }
    window.dirty.clear()
  }

  /** Returns the conversations whose heads now count. */
  committed(commit: number): Conversation[] {
    const out: Conversation[] = []
    let done = 0
    for (; done < this.#heads.length && this.#heads[done]!.commit <= commit; done++) {
      const { conv, head } = this.#heads[done]!
      if (conv.settled === head) continue
      conv.settled = head
      out.push(conv)
    }
    if (done > 0) this.#heads.splice(0, done)
    return out
  }
}

/** Something of it is on its way to a region, or about to be. */
function isOwed({ feeds }: Conversation): boolean {
  for (const { window, gathered, reading } of feeds.values())
    if (window.size > 0 || gathered.size > 0 || reading.size > 0) return true
  return false
}
