// A disk that goes back to an old backup is not a crash: what was numbered and acknowledged since is forgotten, and would
// be numbered again. The disk cannot tell, but others can: regions keep for each other how far their journals had come, and
// hand that back, before anything else, whenever a link comes up. A node that finds its own note ahead of its own journal
// writes that down and ends, and never serves from that store again until it is restored.
import { create } from '@bufbuild/protobuf'
import {
  type ConvId,
  convIdBytes,
  convIdOf,
  encodeItem,
  ItemKind,
  isAhead,
  isOwnPosition,
  type JournalPlace,
  type JournalPosition,
  JournalPositionSchema,
  NO_PLACE,
  ParleyError,
  placeOfJournal,
  type RegionId,
  regionIdBytes,
  regionIdOf,
  sealPosition,
} from '#protocol'
import type { Store } from '../store/types.ts'
import { ByteReader, ByteWriter } from './bytes.ts'
import { readNumber, rowsOf, writeNumber } from './conversation-rows.ts'
import type { RuleLimits } from './limits.ts'
import type { RelayPorts } from './ports.ts'

/** Partition: `life` of this store, `behind` which place it lacks, `k<region>` the note of another region. */
const NOTES = 'n'
const LIFE = 'life'
const BEHIND = 'behind'
const KEPT = 'k'
const KEPT_END = 'l'
const BOOT_BYTES = 8
/** Regions whose notes are kept. */
const KEPT_MAX = 4_096
/** Regions that are looked for after a start, because they may know. */
const ASKED_MAX = 8

const nameOf = (region: RegionId): ConvId => convIdOf(regionIdBytes(region))
const writePlace = ({ life, commit }: JournalPlace): Uint8Array => new ByteWriter().u32(life).u53(commit).done()

function readPlace(row: Uint8Array): JournalPlace {
  const from = new ByteReader(row)
  return { life: from.u32(), commit: from.u53() }
}

const writeNote = (note: JournalPosition): Uint8Array =>
  new ByteWriter().u32(note.life).u53(Number(note.commit)).lp(note.boot).lp(note.mac).done()

function readNote(row: Uint8Array): JournalPosition {
  const from = new ByteReader(row)
  const [life, commit, boot, mac] = [from.u32(), BigInt(from.u53()), from.lp(), from.lp()]
  return { $typeName: 'parley.v1.JournalPosition', life, commit, boot, mac }
}

/**
 * What is in this store goes on, though others may know of more; later than the life `last`, if that is known. Not while
 * the store is served.
 */
export async function beginNextLife(store: Store, last = 1): Promise<number> {
  const [life, behind] = [await store.get(NOTES, LIFE), await store.get(NOTES, BEHIND)]
  const next = Math.max(last, life ? readNumber(life) : 1, behind ? readPlace(behind).life : 1) + 1
  store.put(NOTES, LIFE, writeNumber(next))
  store.delete(NOTES, BEHIND)
  await store.flushed()
  return next
}

/** 1 until it was restored. */
export async function lifeOf(store: Store): Promise<number> {
  const life = await store.get(NOTES, LIFE)
  return life ? readNumber(life) : 1
}

function oldBackup(lacks: JournalPlace): ParleyError {
  return new ParleyError(
    'old_backup',
    'this store is an old backup: other regions keep what this region said after it',
    { life: `${lacks.life}`, commit: `${lacks.commit}` },
  )
}

export type JournalNotesParts = {
  readonly ports: RelayPorts
  readonly store: Store
  readonly limits: Pick<RuleLimits, 'notesAgainMs' | 'notesPatienceMs'>
  /** Nothing may happen any more. */
  readonly freeze: () => void
  readonly failed: (error: Error) => void
}

export class JournalNotes {
  readonly #parts: JournalNotesParts
  readonly #up = new Set<RegionId>()
  /** What others gave to keep. */
  readonly #kept = new Map<RegionId, JournalPosition>()
  /** Of these it is not in a commit yet: it rides in the next, since one that is lost is told again. */
  readonly #unwritten = new Set<RegionId>()
  readonly #heard = Promise.withResolvers<void>()
  readonly #boot: Uint8Array
  #life = 1
  /** The last commit of the boots before. */
  #startedAt = 0
  #said: JournalPosition | undefined
  #saidMs = Number.NEGATIVE_INFINITY
  #sinceMs = 0
  #isHeard = false

  constructor(parts: JournalNotesParts) {
    this.#parts = parts
    this.#boot = parts.ports.random.bytes(BOOT_BYTES)
    this.#heard.promise.catch(() => undefined)
  }

  /** Resolves when a region that may know better has been heard, or none has answered in time. */
  get heard(): Promise<void> {
    return this.#heard.promise
  }

  /** Throws `old_backup` when it is known already. */
  async start(): Promise<void> {
    const { ports, store } = this.#parts
    this.#startedAt = store.committed()
    const behind = await store.get(NOTES, BEHIND)
    if (behind) throw oldBackup(readPlace(behind))
    this.#life = await lifeOf(store)
    for await (const [key, row] of rowsOf(store, NOTES, KEPT, KEPT_END)) {
      this.#kept.set(key.slice(KEPT.length) as RegionId, readNote(row))
    }
    this.#sinceMs = ports.clock.monotonic()
    if (this.#kept.size === 0) this.#hear()
    for (const region of [...this.#kept.keys()].slice(0, ASKED_MAX)) ports.links.want(region)
  }

  /** Of this store, from 1: one more after every restore. */
  get life(): number {
    return this.#life
  }

  keptOf(region: RegionId): JournalPlace {
    const note = this.#kept.get(region)
    return note ? placeOfJournal(note) : NO_PLACE
  }

  #hear(): void {
    this.#isHeard = true
    this.#heard.resolve()
  }

  /** Before anything else is said on this link. */
  linkUp(region: RegionId): void {
    this.#up.add(region)
    this.#send(region, region, this.#kept.get(region) ?? create(JournalPositionSchema))
    this.#send(region, this.#parts.ports.region, this.#own())
  }

  linkDown(region: RegionId): void {
    this.#up.delete(region)
  }

  #send(to: RegionId, of: RegionId, value: JournalPosition): void {
    const kind = ItemKind.JOURNAL_POSITION
    this.#parts.ports.links.send(to, { conv: nameOf(of), kind, body: encodeItem({ kind, value }) })
  }

  #own(): JournalPosition {
    const commit = this.#parts.store.committed()
    const place = { life: this.#life, commit }
    if (this.#said?.commit !== BigInt(commit))
      this.#said = sealPosition(place, this.#boot, this.#parts.ports.noteSecret)
    return this.#said!
  }

  item(from: RegionId, name: ConvId, note: JournalPosition): void {
    const region = regionIdOf(convIdBytes(name))
    if (region === this.#parts.ports.region) this.#onOwn(from, note)
    else if (region === from) this.#keep(region, note)
    else throw new ParleyError('conflict', 'how far the journal of a third region has come')
  }

  #keep(region: RegionId, note: JournalPosition): void {
    if (!this.#kept.has(region) && this.#kept.size >= KEPT_MAX) return
    if (!isAhead(placeOfJournal(note), this.keptOf(region))) return
    this.#kept.set(region, { ...note, boot: note.boot.slice(), mac: note.mac.slice() })
    this.#unwritten.add(region)
  }

  #onOwn(from: RegionId, note: JournalPosition): void {
    const { store, ports, freeze, failed } = this.#parts
    const place = placeOfJournal(note)
    const isOfThisBoot = Buffer.compare(note.boot, this.#boot) === 0
    // What this boot has committed since it started says nothing about what an earlier one had.
    const commit = isOfThisBoot ? store.committed() : this.#startedAt
    if (isAhead(place, { life: this.#life, commit }) && isOwnPosition(note, ports.noteSecret)) {
      freeze()
      store.put(NOTES, BEHIND, writePlace(place))
      const error = oldBackup(place)
      // A store that cannot take it fails by itself: it may belong to another process by now.
      store.flushed().then(
        () => {
          this.#heard.reject(error)
          failed(error)
        },
        (reason) => this.#heard.reject(reason),
      )
    } else if (!this.#isHeard && this.#kept.has(from)) this.#hear()
  }

  tick(): void {
    const { clock } = this.#parts.ports
    const { notesAgainMs, notesPatienceMs } = this.#parts.limits
    const now = clock.monotonic()
    if (!this.#isHeard && now - this.#sinceMs >= notesPatienceMs) this.#hear()
    if (now - this.#saidMs < notesAgainMs) return
    this.#saidMs = now
    const before = this.#said
    const own = this.#own()
    if (own !== before) for (const region of this.#up) this.#send(region, this.#parts.ports.region, own)
  }

  /** A commit is closed anyway. */
  closing(): void {
    for (const region of this.#unwritten) {
      this.#parts.store.put(NOTES, `${KEPT}${region}`, writeNote(this.#kept.get(region)!))
    }
    this.#unwritten.clear()
  }
}
