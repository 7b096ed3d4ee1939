// The host before is gone: the other regions are asked to close, and to accept the register that this one makes of what
// they say. See ballots.ts for why, arrivals.ts for what is known of it.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  type Ballot,
  Ballot_Phase,
  BallotSchema,
  type Closed,
  type ConvId,
  hostRegisterPayload,
  ItemKind,
  openClosed,
  ParleyError,
  type RegionId,
  regionIdBytes,
  regionIdOf,
} from '#protocol'
import { type Forcing, mayCut, newForcing, onStatement } from './arrivals.ts'
import { type AcceptorAnswer, type BallotNumber, isChosen, onAccepted, propose, roundAfter } from './ballots.ts'
import type { Asking, Coming } from './coming.ts'
import type { Conversation } from './conversation.ts'
import { writeNumber } from './conversation-rows.ts'
import type { Core } from './core.ts'
import type { Leaving } from './leaving.ts'

/** Partition of the rounds in which this region proposed, key convId: none is used twice. */
export const ROUNDS = 'b'

export type ElectionParts = {
  readonly core: Core
  readonly leaving: Leaving
  readonly asking: Asking
  /** In use here. */
  readonly existing: (id: ConvId) => Conversation | undefined
  /** Decided for ever. */
  readonly chosen: (coming: Coming, payload: Uint8Array) => void
}

export class Election {
  readonly #core: Core
  readonly #leaving: Leaving
  readonly #asking: Asking
  readonly #existing: ElectionParts['existing']
  readonly #chosen: ElectionParts['chosen']

  constructor(parts: ElectionParts) {
    this.#core = parts.core
    this.#leaving = parts.leaving
    this.#asking = parts.asking
    this.#existing = parts.existing
    this.#chosen = parts.chosen
  }

  begin(coming: Coming, acceptors: readonly RegionId[]): void {
    coming.forcing = newForcing(acceptors, this.#nextRound(coming, coming.round + 1), coming.arrival.here)
    this.force(coming, coming.forcing)
  }

  #nextRound(coming: Coming, round: number): number {
    coming.round = round
    this.#core.store.put(ROUNDS, coming.id, writeNumber(round))
    return round
  }

  payloadOf(coming: Coming, closed: readonly Closed[]): Uint8Array {
    const { signer, clock } = this.#core.ports
    const homeHead = coming.homes[0]!.record.head!
    return hostRegisterPayload(
      { convId: coming.id, epoch: coming.arrival.opens, closed, homeHead },
      signer,
      clock.now(),
    )
  }

  /** Prepares, or proposes again what it has fixed. */
  force(coming: Coming, forcing: Forcing): void {
    if (!this.#asking.isDue(coming, 'ballot')) return
    const { PREPARE, ACCEPT } = Ballot_Phase
    const { number, acceptors, value } = forcing.proposer
    const ballot = create(BallotSchema, {
      phase: value ? ACCEPT : PREPARE,
      epoch: coming.arrival.opens,
      number: { round: number.round, region: regionIdBytes(number.region) },
      ...(value && { value }),
    })
    const body = toBinary(BallotSchema, ballot)
    for (const region of acceptors) {
      if (region === coming.arrival.here) this.#voteHere(coming, number, value)
      else this.#asking.send(region, coming, ItemKind.BALLOT, body)
    }
  }

  /** This region has a replica of its own, or no more than what it is about to begin. */
  #voteHere(coming: Coming, number: BallotNumber, value: Uint8Array | undefined): void {
    const existing = this.#existing(coming.id)
    const epoch = coming.arrival.opens
    const answer: AcceptorAnswer | undefined = existing
      ? this.#leaving.vote(existing, epoch, number, value)
      : value
        ? { say: 'accepted' }
        : { say: 'promise', accepted: undefined }
    if (!answer) return
    const record = existing ? this.#leaving.close(existing, epoch) : this.#leaving.closeNothing(coming.id, epoch)
    const closed = openClosed(record, this.#core.ports.clock.now())
    this.#onAnswer(coming, coming.arrival.here, number, answer, closed)
  }

  /** What an acceptor answers. */
  onBallot(region: RegionId, coming: Coming, ballot: Ballot): void {
    const { PROMISE, ACCEPTED, REFUSED } = Ballot_Phase
    const numberOf = (n: Ballot['number']) => ({ round: n!.round, region: regionIdOf(n!.region) })
    const number = numberOf(ballot.number)
    const closed = ballot.closed && openClosed(ballot.closed, this.#core.ports.clock.now())
    if (closed && (closed.convId !== coming.id || closed.region !== region || closed.beforeEpoch !== ballot.epoch))
      throw new ParleyError('conflict', 'a statement about something else')
    const accepted = ballot.accepted && { number: numberOf(ballot.accepted), value: ballot.value.slice() }
    if (ballot.phase === PROMISE) this.#onAnswer(coming, region, number, { say: 'promise', accepted }, closed)
    if (ballot.phase === ACCEPTED) this.#onAnswer(coming, region, number, { say: 'accepted' }, undefined)
    if (ballot.phase === REFUSED)
      this.#onAnswer(coming, region, number, { say: 'refused', promised: number }, undefined)
  }

  #onAnswer(
    coming: Coming,
    from: RegionId,
    number: BallotNumber,
    answer: AcceptorAnswer,
    closed: Closed | undefined,
  ): void {
    const forcing = coming.forcing!
    if (answer.say === 'refused') {
      const round = this.#nextRound(coming, roundAfter(forcing.proposer, answer.promised))
      coming.forcing = newForcing(forcing.proposer.acceptors, round, coming.arrival.here)
      return
    }
    if (answer.say === 'promise') {
      coming.forcing = onStatement(forcing, from, number, answer.accepted, closed!)
      if (coming.forcing === forcing || !mayCut(coming.forcing)) return
      const statements = [...coming.forcing.closed.values()]
      const proposer = propose(coming.forcing.proposer, () => this.payloadOf(coming, statements))
      coming.forcing = { ...coming.forcing, proposer }
      coming.asked.delete('ballot')
      this.force(coming, coming.forcing)
      return
    }
    coming.forcing = { ...forcing, proposer: onAccepted(forcing.proposer, from, number) }
    if (isChosen(coming.forcing.proposer)) this.#chosen(coming, coming.forcing.proposer.value!)
  }
}
