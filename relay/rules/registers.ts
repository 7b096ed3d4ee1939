// Registers of a conversation: latest wins. `delivered` is kept by the reader's home from device cursors and told at most
// every 250 ms; a read mark comes from the device, sealed. Both go to the host and from there to the other member regions.
import { create, toBinary } from '@bufbuild/protobuf'
import { ItemKind, limits, ParleyError, type RegionId, RegistersSchema, type RegisterUpdate } from '#protocol'
import { type Conversation, pin, type Register, unpin } from './conversation.ts'
import { registerName, registerStream } from './conversation-rows.ts'
import type { Core } from './core.ts'
import { deliveredOf, REGISTER_DELIVERED } from './delivered.ts'
import type { Introductions } from './introductions.ts'
import type { Senders } from './senders.ts'
import type { SessionState } from './sessions.ts'

export const REGISTER_READ = 2

/** `delivered` leaves at once after this much silence … */
const QUIET_MS = 1_000
/** … and otherwise so often. */
const EVERY_MS = 250

export class Registers {
  readonly #core: Core
  readonly #senders: Senders
  readonly #introductions: Introductions
  /** Conversations with a member of whom `delivered` is to be told. */
  readonly #due = new Set<Conversation>()

  constructor(core: Core, senders: Senders, introductions: Introductions) {
    this.#core = core
    this.#senders = senders
    this.#introductions = introductions
  }

  /** A local member's device has moved its cursor. */
  cursorMoved(conv: Conversation, number: number): void {
    const member = conv.members[number]!
    if (member.deliveredDueMs !== undefined) return
    const now = this.#core.ports.clock.monotonic()
    if (now - member.deliveredMs >= QUIET_MS) {
      this.#deliver(conv, number, now)
      return
    }
    member.deliveredDueMs = Math.max(now, member.deliveredMs + EVERY_MS)
    if (this.#due.has(conv)) return
    this.#due.add(conv)
    pin(conv)
  }

  /** A conversation was read from rows: what a former boot did not come to tell. */
  opened(conv: Conversation): void {
    for (const [m, member] of conv.members.entries())
      if (member.local && deliveredOf(conv, m, this.#core.inboxes) !== undefined) this.cursorMoved(conv, m)
  }

  tick(): void {
    const now = this.#core.ports.clock.monotonic()
    for (const conv of this.#due) {
      let isLeft = false
      for (const [m, member] of conv.members.entries()) {
        if (member.deliveredDueMs === undefined) continue
        if (member.deliveredDueMs > now) {
          isLeft = true
          continue
        }
        member.deliveredDueMs = undefined
        // Who has moved on meanwhile is told of where they live.
        if (member.local) this.#deliver(conv, m, now)
      }
      if (isLeft) continue
      this.#due.delete(conv)
      unpin(conv)
    }
  }

  #deliver(conv: Conversation, member: number, now: number): void {
    const version = deliveredOf(conv, member, this.#core.inboxes)
    if (version === undefined) return
    conv.members[member]!.deliveredMs = now
    this.#core.ports.events.delivered(1)
    this.#take(conv, { kind: REGISTER_DELIVERED, member, device: 0, version, body: new Uint8Array(0) }, undefined)
  }

  #take(conv: Conversation, update: Omit<Register, 'gate'>, from: RegionId | undefined): void {
    const register = this.#core.convs.putRegister(conv, update)
    const name = registerName(register)
    const origin = conv.members[register.member]!.region
    // Nothing is owed by a region from which everybody left.
    const regions = [...conv.feeds.keys()].filter((r) => (conv.hostedHere ? r !== origin : !from && r === conv.host))
    for (const region of regions)
      this.#core.feeds.concern(conv, region, registerStream(name), register.version, register.version)
    this.#tell(conv, register)
  }

  /** Devices of the other local members: live ones at once, the others find it when they come back. */
  #tell(conv: Conversation, register: Register): void {
    for (const [m, member] of conv.members.entries()) {
      if (!member.local || m === register.member) continue
      const told = new Set<string>()
      for (const session of this.#core.sessions.ofUser(member.userId)) {
        if (session.opening) {
          session.opening.add(conv.id)
          continue
        }
        this.#core.sessions.register(session, conv, register, gateOf(register))
        told.add(session.device)
      }
      this.#core.inboxes.unmark(conv, member, told)
    }
  }

  /** Some were handed over with a conversation: who was here before has not heard of them. */
  cameAlong(conv: Conversation): void {
    for (const register of conv.registers.values()) this.#tell(conv, register)
  }

  /** A device comes back to a conversation. */
  tellAll(session: SessionState, conv: Conversation, member: number): void {
    for (const register of conv.registers.values()) {
      if (register.member !== member) this.#core.sessions.register(session, conv, register, gateOf(register))
    }
    this.#core.inboxes.marked(conv, conv.members[member]!, session.device)
  }

  /** A read mark of the session's own device. */
  fromDevice(session: SessionState, conv: Conversation, member: number, update: RegisterUpdate): void {
    const { device } = session.port.device
    if (update.kind !== REGISTER_READ) throw new ParleyError('malformed', `a device cannot set register ${update.kind}`)
    if (update.member !== member || update.device !== device)
      throw new ParleyError('unauthorized', 'a register of somebody else')
    this.#takeIfNewer(conv, update, undefined)
  }

  fromRegion(conv: Conversation, region: RegionId, update: RegisterUpdate): void {
    const member = conv.members[update.member]
    if (!member || (update.kind !== REGISTER_DELIVERED && update.kind !== REGISTER_READ)) {
      throw new ParleyError('malformed', 'a register of nobody here')
    }
    if (member.local || (member.region !== region && conv.host !== region)) {
      throw new ParleyError('not_home', 'a register of somebody who does not live there')
    }
    this.#takeIfNewer(conv, update, region)
    const body = toBinary(RegistersSchema, create(RegistersSchema, { items: [{ ...update, body: new Uint8Array(0) }] }))
    this.#introductions.before(region, conv)
    this.#core.outbox.after(this.#core.store.gate(), region, { conv: conv.id, kind: ItemKind.REGISTERS_STATE, body })
  }

  #takeIfNewer(conv: Conversation, update: RegisterUpdate, from: RegionId | undefined): void {
    if (update.body.length > limits.REGISTER_BODY_MAX_BYTES || update.version > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw new ParleyError('too_large', 'register over the limit', { limit: `${limits.REGISTER_BODY_MAX_BYTES}` })
    }
    const register = {
      kind: update.kind,
      member: update.member,
      device: update.device,
      version: Number(update.version),
      body: update.body,
    }
    const known = conv.registers.get(registerName(register))
    if (register.version <= (known?.version ?? 0)) return
    this.#take(conv, { ...register, body: update.body.slice() }, from)
  }

  /** Sends the register as it is now, if the region has not been sent that and it may leave. Returns the version sent. */
  send(conv: Conversation, region: RegionId, stream: string): number {
    const name = stream.slice(1)
    const register = conv.registers.get(name)
    const sent = conv.feeds.get(region)?.sent.get(stream) ?? 0
    if (register && gateOf(register) > this.#core.store.committed()) return sent
    if (register && register.version > sent) this.#senders.register(conv, region, name, register)
    return register?.version ?? 0
  }

  onState(conv: Conversation, region: RegionId, update: RegisterUpdate): void {
    const name = registerName(update)
    const known = conv.registers.get(name)
    if (!known) return
    // Nobody has what is not there yet: taken at its word, that would never be sent.
    this.#core.feeds.acknowledged(conv, region, registerStream(name), Math.min(Number(update.version), known.version))
  }
}

/** `delivered` waits for nothing: its version is a place in the log. */
const gateOf = (register: Register): number => (register.kind === REGISTER_DELIVERED ? 0 : register.gate)
