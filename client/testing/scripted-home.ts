// A home, host and directory for tests of the client: two or more people in one region, one log for each conversation,
// real frames. It answers as section 2 of the protocol says unless a test scripts it otherwise.
import { create } from '@bufbuild/protobuf'
import { createAccount, type NewAccount } from '#crypto'
import {
  BehindSchema,
  type Clock,
  ConversationNameSchema,
  type ConvId,
  convIdBytes,
  convIdOf,
  countersign,
  type DeviceFrame,
  type DeviceKey,
  EmptySchema,
  EntriesSchema,
  epochOf,
  type Home,
  type HomeFrame,
  HomeFrameSchema,
  HostMovedSchema,
  KIND_SKIP,
  type Manifest,
  NOWHERE,
  nOf,
  openHomeRecord,
  openManifest,
  ParleyError,
  type Position,
  PositionSchema,
  type PrekeyBundle,
  PrekeyBundleSchema,
  positionOf,
  type Random,
  type RegionId,
  type RegionSigner,
  RegisterUpdateSchema,
  readGenesis,
  readHeader,
  type SignedPrekeys,
  type SignedRecord,
  type Submission,
  selectParts,
  signingKey,
  type UserId,
  type Verdict,
  VerdictSchema,
  writeEntry,
} from '#protocol'
import type { Directory, HomeSession } from '../rules.ts'
import { headOf, type Log, moveLog, newLog, placeAfter } from './scripted-log.ts'
import { testRegion } from './test-region.ts'

const DAY_MS = 86_400_000

export type Outcome = Verdict['outcome']
export type Person = { readonly account: NewAccount; manifest: Manifest; home: Home }

type Session = {
  readonly user: UserId
  readonly device: DeviceKey
  readonly deliver: (frame: HomeFrame) => void
  readonly theirs: Map<number, ConvId>
  readonly mine: Map<ConvId, number>
  readonly live: Set<ConvId>
  open: boolean
}

const textOf = (user: UserId, device: DeviceKey): string =>
  `${user}.${device.device}.${device.registrationEpoch}.${device.registrationVersion}`

const safeVerdict = (conv: number, k: number): Verdict =>
  create(VerdictSchema, { conv, k, outcome: { case: 'safe', value: create(EmptySchema) } })

export class ScriptedHome {
  readonly clock: Clock
  readonly region: RegionId
  readonly people = new Map<UserId, Person>()
  readonly logs = new Map<ConvId, Log>()
  readonly sessions = new Map<string, Session>()
  /** Durable: what each device has acknowledged. */
  readonly cursors = new Map<string, number>()
  readonly submissions: { author: string; submission: Submission }[] = []
  readonly frames: { from: UserId; frame: DeviceFrame }[] = []
  /** Called first for every submission: an outcome instead of the usual one, 'silence', or undefined. */
  script: (submission: Submission, author: string) => Outcome | 'silence' | undefined = () => undefined
  delayMs: () => number = () => 1
  safe = true
  bundles = 0
  uploads: SignedPrekeys[] = []
  readonly ended: ParleyError[] = []
  readonly keys: RegionSigner

  constructor(clock: Clock, random: Random) {
    this.clock = clock
    this.keys = testRegion(random)
    this.region = this.keys.regionId
  }

  register(random: Random): Person {
    const account = createAccount(
      signingKey(random.bytes(32)),
      { homeRegion: this.region, fallbackRegions: [] },
      random,
    )
    return this.admit(account)
  }

  admit(account: NewAccount): Person {
    const now = this.clock.now()
    const manifest = openManifest(account.manifest, now)
    const record = countersign(account.head, this.region, this.keys.operational, this.keys.grant, now, now + DAY_MS)
    const person = { account, manifest, home: openHomeRecord(record, now) }
    this.people.set(manifest.userId, person)
    return person
  }

  directory(): Directory {
    return {
      find: async (user) => {
        const person = this.people.get(user)
        if (!person) throw new ParleyError('unknown_user', 'nobody has this id', { id: user })
        return { home: person.home, manifest: person.manifest }
      },
      bundle: async (): Promise<PrekeyBundle> => {
        this.bundles++
        return create(PrekeyBundleSchema)
      },
      prekeyCounts: async () => ({ oneTime: this.uploads.length * 100, oneTimeKyber: this.uploads.length * 100 }),
      uploadPrekeys: async (prekeys) => {
        this.uploads.push(prekeys)
      },
    }
  }

  /** Signs a device in; the frames that it gets come through `receive`. */
  connect(user: UserId, device: DeviceKey, receive: (home: HomeSession, frame: HomeFrame) => void): HomeSession {
    const name = textOf(user, device)
    const before = this.sessions.get(name)
    if (before) before.open = false
    const session: Session = {
      user,
      device,
      theirs: new Map(),
      mine: new Map(),
      live: new Set(),
      open: true,
      deliver: (frame) => {
        this.#inOrder(down, () => session.open && receive(home, frame))
      },
    }
    const down = { dueMs: 0 }
    const up = { dueMs: 0 }
    const home: HomeSession = {
      inFlightMax: 256,
      send: (frame) => {
        this.#inOrder(up, () => session.open && this.#take(session, frame))
      },
      end: (reason) => {
        session.open = false
        this.ended.push(reason)
      },
    }
    this.sessions.set(name, session)
    this.clock.after(this.delayMs(), () => session.open && this.#greet(session))
    return home
  }

  /** A session may be slow, but it never reorders. */
  #inOrder(way: { dueMs: number }, callback: () => void): void {
    way.dueMs = Math.max(way.dueMs, this.clock.now() + this.delayMs())
    this.clock.after(way.dueMs - this.clock.now(), callback)
  }

  disconnect(user: UserId, device: DeviceKey): void {
    const session = this.sessions.get(textOf(user, device))
    if (session) session.open = false
  }

  #greet(session: Session): void {
    const frame = create(HomeFrameSchema)
    for (const [conv, log] of this.logs) {
      if (!log.members.includes(session.user)) continue
      const from = this.cursors.get(`${textOf(session.user, session.device)} ${conv}`) ?? 0
      const head = headOf(log)
      if (from >= head) {
        session.live.add(conv)
        continue
      }
      frame.behind.push(
        create(BehindSchema, {
          conv: this.#refOf(session, conv, frame),
          headEpoch: epochOf(head),
          headN: nOf(head),
          fromEpoch: epochOf(from as Position),
          fromN: nOf(from as Position),
        }),
      )
    }
    session.deliver(frame)
  }

  #refOf(session: Session, conv: ConvId, frame: HomeFrame): number {
    const known = session.mine.get(conv)
    if (known) return known
    const ref = session.mine.size + 1
    session.mine.set(conv, ref)
    const { genesis } = this.logs.get(conv)!
    frame.names.push(create(ConversationNameSchema, { ref, convId: convIdBytes(conv), genesis }))
    return ref
  }

  #take(session: Session, frame: DeviceFrame): void {
    this.frames.push({ from: session.user, frame })
    const answer = create(HomeFrameSchema, { pong: frame.ping })
    for (const name of frame.names) {
      const conv = convIdOf(name.convId)
      session.theirs.set(name.ref, conv)
      if (!this.logs.has(conv)) this.#open(conv, name.genesis)
      this.#tellMoves(session, conv, NOWHERE, answer)
      const last = this.logs.get(conv)!.last.get(textOf(session.user, session.device))
      if (this.safe && last) answer.verdicts.push(safeVerdict(name.ref, last))
    }
    for (const cursor of frame.cursors) {
      const conv = session.theirs.get(cursor.conv)!
      const key = `${textOf(session.user, session.device)} ${conv}`
      const at = positionOf(cursor.epoch, cursor.n)
      this.#tellMoves(session, conv, at, answer)
      if (cursor.rewind) this.#page(session, conv, at, answer, false)
      else this.cursors.set(key, Math.max(this.cursors.get(key) ?? 0, at))
      this.#tellDelivered(conv, session)
    }
    for (const { conv, epoch, n } of frame.pulls) {
      this.#tellMoves(session, session.theirs.get(conv)!, positionOf(epoch, n), answer)
      this.#page(session, session.theirs.get(conv)!, positionOf(epoch, n), answer, true)
    }
    const fresh = new Map<ConvId, Uint8Array[]>()
    for (const submission of frame.submissions) {
      const conv = session.theirs.get(submission.conv)!
      const outcome = this.#submit(session, conv, submission, fresh)
      if (outcome) answer.verdicts.push(outcome)
      if (this.safe && outcome?.outcome.case === 'sequenced') {
        answer.verdicts.push(safeVerdict(submission.conv, submission.k))
      }
    }
    for (const register of frame.registers) this.#spread(session, session.theirs.get(register.conv)!, register)
    session.deliver(answer)
    for (const [conv, entries] of fresh) this.#push(conv, entries)
  }

  #open(conv: ConvId, genesis: Uint8Array): void {
    const read = readGenesis(genesis)
    if (read.kind !== 'direct') throw new Error('only direct conversations')
    this.logs.set(conv, newLog(genesis, read.members))
    for (const session of this.sessions.values()) if (read.members.includes(session.user)) session.live.add(conv)
  }

  #verdict(submission: Submission, outcome: Outcome, tag?: Uint8Array): Verdict {
    const { conv, k, rev } = submission
    return create(VerdictSchema, { conv, k, rev, outcome, tag: tag ?? submission.tag })
  }

  #submit(
    session: Session,
    conv: ConvId,
    submission: Submission,
    fresh: Map<ConvId, Uint8Array[]>,
  ): Verdict | undefined {
    const author = textOf(session.user, session.device)
    this.submissions.push({ author, submission })
    const scripted = this.script(submission, author)
    if (scripted === 'silence') return undefined
    if (scripted) return this.#verdict(submission, scripted)
    const log = this.logs.get(conv)!
    const last = log.last.get(author) ?? 0
    const { k } = submission
    if (k > last + 1) {
      return create(VerdictSchema, {
        conv: submission.conv,
        k: last + 1,
        outcome: { case: 'behind', value: create(EmptySchema) },
      })
    }
    if (k === last + 1) {
      const at = placeAfter(log)
      const header = {
        ...session.device,
        kind: submission.kind,
        at,
        member: log.members.indexOf(session.user),
        k,
        tag: submission.tag,
        membershipVersion: 0,
        timeMs: this.clock.now(),
      }
      const entry = writeEntry(header, submission.kind === KIND_SKIP ? [] : submission.parts)
      log.entries.push(entry)
      log.last.set(author, k)
      log.numbered.set(`${author} ${k}`, { at, tag: submission.tag })
      fresh.set(conv, [...(fresh.get(conv) ?? []), entry])
    }
    const { at, tag } = log.numbered.get(`${author} ${k}`)!
    const value = create(PositionSchema, { epoch: epochOf(at), n: nOf(at) })
    return this.#verdict(submission, { case: 'sequenced', value }, tag)
  }

  #forDevice(session: Session, log: Log, entry: Uint8Array): Uint8Array {
    const member = log.members.indexOf(session.user)
    return selectParts(entry, (m, device) => m === member && (device === 0 || device === session.device.device))
  }

  /** The host moved: what lies behind the cut is void. */
  move(conv: ConvId, record: SignedRecord): void {
    const cut = moveLog(this.logs.get(conv)!, record, this.clock.now())
    for (const [name, at] of this.cursors) if (name.endsWith(conv)) this.cursors.set(name, Math.min(at, cut))
  }

  #tellMoves(session: Session, conv: ConvId, cursor: Position, frame: HomeFrame): void {
    const { moves, cuts } = this.logs.get(conv)!
    const registers = moves.filter((_, i) => cuts[i]!.epoch > epochOf(cursor))
    if (registers.length === 0) return
    frame.moves.push(create(HostMovedSchema, { conv: this.#refOf(session, conv, frame), registers }))
  }

  #page(session: Session, conv: ConvId, from: Position, frame: HomeFrame, page: boolean): void {
    const log = this.logs.get(conv)!
    const after = log.entries.filter((entry) => readHeader(entry).at <= from).length
    const head = headOf(log)
    const slice = log.entries.slice(after, after + 20)
    if (after + slice.length >= log.entries.length) session.live.add(conv)
    frame.entries.push(
      create(EntriesSchema, {
        conv: this.#refOf(session, conv, frame),
        entry: slice.map((entry) => this.#forDevice(session, log, entry)),
        page,
        headEpoch: epochOf(head),
        headN: nOf(head),
      }),
    )
  }

  #push(conv: ConvId, entries: Uint8Array[]): void {
    const log = this.logs.get(conv)!
    for (const session of this.sessions.values()) {
      if (!session.open || !session.live.has(conv) || !log.members.includes(session.user)) continue
      const frame = create(HomeFrameSchema)
      const head = readHeader(log.entries.at(-1)!).at
      frame.entries.push(
        create(EntriesSchema, {
          conv: this.#refOf(session, conv, frame),
          entry: entries.map((entry) => this.#forDevice(session, log, entry)),
          headEpoch: epochOf(head),
          headN: nOf(head),
        }),
      )
      session.deliver(frame)
    }
  }

  #tellDelivered(conv: ConvId, from: Session): void {
    const log = this.logs.get(conv)!
    const at = this.cursors.get(`${textOf(from.user, from.device)} ${conv}`) ?? 0
    if (at === 0) return
    const member = log.members.indexOf(from.user)
    const update = create(RegisterUpdateSchema, { kind: 1, member, version: BigInt(at) })
    this.#spread(from, conv, update)
  }

  #spread(
    from: Session,
    conv: ConvId,
    update: Parameters<typeof create<typeof RegisterUpdateSchema>>[1] & object,
  ): void {
    const { members } = this.logs.get(conv)!
    for (const session of this.sessions.values()) {
      if (!session.open || session === from || !members.includes(session.user)) continue
      const frame = create(HomeFrameSchema)
      frame.registers.push(create(RegisterUpdateSchema, { ...update, conv: this.#refOf(session, conv, frame) }))
      session.deliver(frame)
    }
  }
}
