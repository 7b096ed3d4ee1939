// Which register opens an epoch when the host before is gone: single-decree consensus among the regions that have a
// replica. Two who both want to succeed could otherwise each find a majority of statements, at two different cuts.
//
// An acceptor promises a ballot and then takes nothing of a lower one; a proposer that has the promises of more than half
// must propose what was accepted under the highest ballot among them, and only if there is nothing its own. What more
// than half accepted under one ballot is decided for ever. Everything here is plain data; a number must never be used
// for two values, so a proposer keeps its round before it speaks.
import { type RegionId, regionIdBytes } from '#protocol'

export type BallotNumber = { readonly round: number; readonly region: RegionId }

export function compareBallots(a: BallotNumber, b: BallotNumber): number {
  return a.round - b.round || Buffer.compare(regionIdBytes(a.region), regionIdBytes(b.region))
}

export type Accepted = { readonly number: BallotNumber; readonly value: Uint8Array }

/** What an acceptor keeps, durably, about the decree on one epoch. */
export type Acceptor = { readonly promised: BallotNumber | undefined; readonly accepted: Accepted | undefined }

export const newAcceptor: Acceptor = { promised: undefined, accepted: undefined }

export type AcceptorAnswer =
  | { readonly say: 'promise'; readonly accepted: Accepted | undefined }
  | { readonly say: 'accepted' }
  | { readonly say: 'refused'; readonly promised: BallotNumber }

type AcceptorStep = { readonly acceptor: Acceptor; readonly answer: AcceptorAnswer }

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

export function onPrepare(acceptor: Acceptor, number: BallotNumber): AcceptorStep {
  const { promised, accepted } = acceptor
  if (promised && compareBallots(number, promised) < 0) return { acceptor, answer: { say: 'refused', promised } }
  return { acceptor: { promised: number, accepted }, answer: { say: 'promise', accepted } }
}

export function onAccept(acceptor: Acceptor, number: BallotNumber, value: Uint8Array): AcceptorStep {
  const { promised, accepted } = acceptor
  if (promised && compareBallots(number, promised) < 0) return { acceptor, answer: { say: 'refused', promised } }
  if (accepted && compareBallots(number, accepted.number) === 0 && !sameBytes(accepted.value, value)) {
    return { acceptor, answer: { say: 'refused', promised: number } }
  }
  return { acceptor: { promised: number, accepted: { number, value } }, answer: { say: 'accepted' } }
}

export const majorityOf = (acceptors: readonly RegionId[]): number => Math.floor(acceptors.length / 2) + 1

/** `preparing`: for promises; `proposing`: the value is fixed; `chosen`: decided for ever. */
export type Proposer = {
  readonly acceptors: readonly RegionId[]
  readonly number: BallotNumber
  readonly promises: ReadonlyMap<RegionId, Accepted | undefined>
  readonly value: Uint8Array | undefined
  readonly acceptedBy: ReadonlySet<RegionId>
}

export function newProposer(acceptors: readonly RegionId[], number: BallotNumber): Proposer {
  return { acceptors, number, promises: new Map(), value: undefined, acceptedBy: new Set() }
}

/** A promise or an acceptance counts once, of an acceptor, and for the number that it is about. */
function counts(proposer: Proposer, from: RegionId, number: BallotNumber): boolean {
  return proposer.acceptors.includes(from) && compareBallots(number, proposer.number) === 0
}

export function onPromise(
  proposer: Proposer,
  from: RegionId,
  number: BallotNumber,
  accepted: Accepted | undefined,
): Proposer {
  if (proposer.value || !counts(proposer, from, number)) return proposer
  return { ...proposer, promises: new Map(proposer.promises).set(from, accepted) }
}

export function mayPropose(proposer: Proposer): boolean {
  return proposer.value === undefined && proposer.promises.size >= majorityOf(proposer.acceptors)
}

/** Fixes the value: what was accepted under the highest ballot, or the proposer's own. */
export function propose(proposer: Proposer, own: () => Uint8Array): Proposer {
  if (!mayPropose(proposer)) throw new Error('a proposal without the promises of more than half')
  let highest: Accepted | undefined
  for (const accepted of proposer.promises.values()) {
    if (accepted && (!highest || compareBallots(accepted.number, highest.number) > 0)) highest = accepted
  }
  return { ...proposer, value: highest?.value ?? own() }
}

export function onAccepted(proposer: Proposer, from: RegionId, number: BallotNumber): Proposer {
  if (!proposer.value || !counts(proposer, from, number)) return proposer
  return { ...proposer, acceptedBy: new Set(proposer.acceptedBy).add(from) }
}

export function isChosen(proposer: Proposer): boolean {
  return proposer.acceptedBy.size >= majorityOf(proposer.acceptors)
}

/** Somebody was promised more: the round from which it is worth trying again. */
export function roundAfter(proposer: Proposer, promised: BallotNumber): number {
  return Math.max(proposer.number.round, promised.round) + 1
}
