// A conversation that comes to a region because a member lives there now: whom to ask, and when what was asked is enough.
// If the member's home record makes this region the host, it first has to end the epoch before: with the statement of
// the old host if that answers (a planned move), else with those of more than half of the other member regions.
import type { Closed, RegionId } from '#protocol'
import { type Accepted, majorityOf, mayPropose, newProposer, onPromise, type Proposer } from './ballots.ts'
import { othersThan } from './epochs.ts'

/** What a region said it has: who hosts it, `undefined` for nothing; and where it was closed, or that it is nowhere. */
export type Answer = {
  readonly host: RegionId | undefined
  readonly epoch: number
  readonly closed: Closed | undefined
  /** Nothing is there, any more or yet: this is where it went, or should have come from. */
  readonly before: RegionId | undefined
  /** That region still keeps something for who came. */
  readonly beforeKeeps?: boolean
}

export type Arrival = {
  /** The epoch that this region is to open; 0: it is to be a replica. */
  readonly opens: number
  readonly here: RegionId
  /** The epoch in which it is hosted here: all that can come is what was not delivered yet where somebody lived. Else 0. */
  readonly hosted: number
  /** Something of it is here already. */
  readonly hasSome: boolean
  /** Where the members live, or lived until they came here, but for the one who decides about the host. */
  readonly others: readonly RegionId[]
  /** Those of them where members live: they decide, whatever of somebody else did not come there. */
  readonly homes: readonly RegionId[]
  /** Regions that may have the conversation, in the order in which they are preferred. */
  readonly candidates: readonly RegionId[]
  /** What they kept for somebody who came may be nowhere else: no time is too long. */
  readonly required: readonly RegionId[]
  readonly answers: ReadonlyMap<RegionId, Answer>
  readonly sinceMs: number
}

export type Plan =
  | { readonly do: 'ask'; readonly regions: readonly RegionId[] }
  /** Take everything from there. For a host: the region has closed. */
  | { readonly do: 'take'; readonly from: RegionId; readonly closed: Closed | undefined }
  /** The old host is gone: let the others close. */
  | { readonly do: 'ballot'; readonly acceptors: readonly RegionId[] }
  /** Nobody has anything of it. For a host: those who would know say so. */
  | { readonly do: 'begin'; readonly closed: readonly Closed[] }
  /** It is hosted here already, in an earlier epoch, or was and nobody else can have it: end that one. */
  | { readonly do: 'own' }

/** Regions that are asked about one conversation, whatever others name. */
const CANDIDATES_MAX = 16

export function newArrival(init: Omit<Arrival, 'answers'>): Arrival {
  const candidates = [...new Set(init.candidates)].filter((region) => region !== init.here)
  return { ...init, candidates, answers: new Map() }
}

/** Whoever is named just now has as much time to answer as the others had. */
export function onAnswer(arrival: Arrival, from: RegionId, answer: Answer, nowMs: number): Arrival {
  const next = withAnswer(arrival, from, answer)
  const candidates = next.candidates.slice(0, CANDIDATES_MAX)
  const required = next.required.filter((region) => candidates.includes(region))
  const isLonger = candidates.length > arrival.candidates.length
  return { ...next, candidates, required, sinceMs: isLonger ? nowMs : arrival.sinceMs }
}

function withAnswer(arrival: Arrival, from: RegionId, answer: Answer): Arrival {
  const answers = new Map(arrival.answers).set(from, answer)
  const { host, before } = answer
  const isOther = (region: RegionId | undefined): region is RegionId => region !== undefined && region !== arrival.here
  // Where it should have come from is as good as who should have it, and better if what came here has gone on from there.
  const instead = answer.beforeKeeps ? [before, from] : [from, before]
  const preferred = arrival.candidates.flatMap((region) => (region === from ? instead.filter(isOther) : region))
  const candidates = [...new Set([...preferred, ...[host].filter(isOther)])]
  // What came there had not come here before: it is with whom that was to come from.
  if (before === arrival.here && answer.beforeKeeps) {
    const first = arrival.required.filter((region) => region !== from)
    return { ...arrival, answers, candidates: [...new Set([...first, ...candidates])] }
  }
  if (!isOther(before)) return { ...arrival, answers, candidates }
  if (answer.beforeKeeps)
    return { ...arrival, answers, candidates, required: [...new Set([...arrival.required, before])] }
  if (before === host) return { ...arrival, answers, candidates }
  const there = (regions: readonly RegionId[]): RegionId[] => regions.map((r) => (r === from ? before : r))
  const others = arrival.homes.includes(from) ? arrival.others : there(arrival.others)
  return { ...arrival, answers, candidates, others, required: there(arrival.required) }
}

/** These may keep what is nowhere else, for somebody who came, unless the home before this one has taken it from them. */
export function requiring(arrival: Arrival, regions: readonly RegionId[]): Arrival {
  const required = [...new Set([...arrival.required, ...regions.filter((region) => region !== arrival.here)])]
  return { ...arrival, candidates: [...new Set([...required, ...arrival.candidates])], required }
}

/** What it answered no longer counts. */
export function unanswered(arrival: Arrival, from: RegionId): Arrival {
  return { ...arrival, answers: new Map([...arrival.answers].filter(([region]) => region !== from)) }
}

/** Somebody who has to be heard has not answered. */
export function isIncomplete({ required, answers }: Arrival): boolean {
  return required.some((region) => !answers.has(region))
}

/** Not all, perhaps: another one may keep what never came there. */
const hasIt = ({ host, before, beforeKeeps }: Answer): boolean =>
  host !== undefined && (!before || beforeKeeps === true)

/** `late`: only those who have to be heard are still waited for. */
export function mayComeFromElsewhere(arrival: Arrival, than: RegionId, late: boolean): boolean {
  const { candidates, required, answers } = arrival
  const others = candidates.filter((region) => region !== than)
  return others.some((region) => {
    const answer = answers.get(region)
    return answer ? hasIt(answer) : required.includes(region) || !late
  })
}

/** The host of the newest epoch that is known; one that names another knows better itself. */
function newestHost(arrival: Arrival): RegionId | undefined {
  const { hosted, here } = arrival
  // A host of before that was told, and lost that again, closes what has gone on here since.
  let newest: Pick<Answer, 'host' | 'epoch'> | undefined = hosted > 0 ? { host: here, epoch: hosted } : undefined
  for (const answer of arrival.answers.values()) {
    if (answer.host !== undefined && (!newest || answer.epoch > newest.epoch)) newest = answer
  }
  const own = newest?.host === undefined ? undefined : arrival.answers.get(newest.host)
  return own?.host !== undefined && own.epoch >= newest!.epoch ? own.host : newest?.host
}

/**
 * What to do now; asked again after every answer and from time to time. `before`: where the person lived who decides, as
 * far as this region knows. `patient`: whoever is silent may still answer.
 */
export function planOf(arrival: Arrival, before: RegionId | undefined, patient: boolean): Plan {
  const silent = arrival.candidates.filter((region) => !arrival.answers.has(region))
  return arrival.opens > 0 ? hostPlan(arrival, before, patient, silent) : replicaPlan(arrival, patient, silent)
}

function hostPlan(arrival: Arrival, before: RegionId | undefined, patient: boolean, silent: RegionId[]): Plan {
  const said = newestHost(arrival)
  const host = said ?? before
  if (host === arrival.here && arrival.hosted > 0)
    return silent.length > 0 && patient ? { do: 'ask', regions: silent } : { do: 'own' }
  const answer = host === undefined ? undefined : arrival.answers.get(host)
  // Whoever lived elsewhere for a moment may have made that region host meanwhile, with a statement of the same host.
  if (host !== undefined && answer?.host === host && answer.closed && !isIncomplete(arrival))
    return { do: 'take', from: host, closed: answer.closed }
  if (silent.length > 0 && patient) return { do: 'ask', regions: silent }
  // It is not gone: it closes when it has heard who is to follow.
  if (host !== undefined && answer?.host === host && patient) return { do: 'ask', regions: [host] }
  // Nobody spoke of it, and the one who would have hosted it says that there is nothing, or else the others do.
  const isNowhere = said === undefined && !arrival.hasSome
  if (isNowhere && answer?.closed) return { do: 'begin', closed: [answer.closed] }
  // It was to come there from here, and nothing is here, nor anywhere else.
  if (isNowhere && answer?.before === arrival.here && silent.length === 0) return { do: 'own' }
  const acceptors = othersThan(host, arrival.others)
  const nothing = acceptors.flatMap((region) => arrival.answers.get(region)?.closed ?? [])
  if (isNowhere && nothing.length >= majorityOf(acceptors)) return { do: 'begin', closed: nothing }
  if (acceptors.length > 0) return { do: 'ballot', acceptors }
  // Everybody lives here, and what the store had of it was lost with it.
  return host === arrival.here ? { do: 'own' } : { do: 'ask', regions: arrival.candidates }
}

/** The member's former home has what is not delivered yet; the host has the rest. */
function replicaPlan(arrival: Arrival, patient: boolean, silent: RegionId[]): Plan {
  for (const region of arrival.candidates) {
    const answer = arrival.answers.get(region)
    if (answer === undefined && patient) break
    if (answer && hasIt(answer)) return { do: 'take', from: region, closed: undefined }
  }
  // Somebody who has it no more says who has: that is not nothing.
  const host = newestHost(arrival)
  if (host !== undefined && host !== arrival.here && !arrival.answers.has(host)) return { do: 'ask', regions: silent }
  const enough = silent.length === 0 || (!patient && (arrival.answers.size > 0 || arrival.hosted > 0))
  return enough ? { do: 'begin', closed: [] } : { do: 'ask', regions: silent }
}

/** A proposer who has heard enough; the others' statements give the cut. */
export type Forcing = { readonly proposer: Proposer; readonly closed: ReadonlyMap<RegionId, Closed> }

export function newForcing(acceptors: readonly RegionId[], round: number, here: RegionId): Forcing {
  return { proposer: newProposer(acceptors, { round, region: here }), closed: new Map() }
}

export function onStatement(
  forcing: Forcing,
  from: RegionId,
  number: Proposer['number'],
  accepted: Accepted | undefined,
  closed: Closed,
): Forcing {
  const proposer = onPromise(forcing.proposer, from, number, accepted)
  if (proposer === forcing.proposer) return forcing
  return { proposer, closed: new Map(forcing.closed).set(from, closed) }
}

/** Statements of more than half; the wait for the others is the caller's patience. */
export function mayCut({ proposer, closed }: Forcing): boolean {
  return mayPropose(proposer) && closed.size >= majorityOf(proposer.acceptors)
}
