// How outcomes of the home's and the host's tables are said on the wire.
import { create } from '@bufbuild/protobuf'
import {
  EmptySchema,
  epochOf,
  nOf,
  ParleyError,
  PositionSchema,
  type RefusalCode,
  refusalOf,
  StaleManifestsSchema,
  type Submission,
  type Verdict,
  VerdictSchema,
} from '#protocol'
import type { HomeOutcome } from './home.ts'
import type { HostOutcome } from './host.ts'

type Of = { readonly k: number; readonly rev: number; readonly tag?: Uint8Array }

const empty = () => create(EmptySchema)

export const heldVerdict = (of: Of): Verdict =>
  create(VerdictSchema, { ...of, outcome: { case: 'held', value: empty() } })

export function behindVerdict(k: number): Verdict {
  return create(VerdictSchema, { k, outcome: { case: 'behind', value: empty() } })
}

function pastVerdict(of: Of): Verdict {
  return create(VerdictSchema, { ...of, outcome: { case: 'past', value: empty() } })
}

function finalVerdict(of: Of, code: RefusalCode, why: string): Verdict {
  return create(VerdictSchema, { ...of, outcome: { case: 'final', value: refusalOf(new ParleyError(code, why)) } })
}

export function waitVerdict(of: Of, code: RefusalCode, why: string, afterMs: number): Verdict {
  const value = refusalOf(new ParleyError(code, why, {}, afterMs))
  return create(VerdictSchema, { ...of, outcome: { case: 'wait', value } })
}

/** A home's answer to a submission that it does not take. */
export function homeVerdict(
  outcome: Exclude<HomeOutcome, { do: 'take' | 'replace' }>,
  said: Submission,
  stop: Verdict | undefined,
): Verdict {
  const of = { k: said.k, rev: said.rev, tag: said.tag }
  switch (outcome.do) {
    case 'sequenced': {
      const { at, tag } = outcome.placed
      const value = create(PositionSchema, { epoch: epochOf(at), n: nOf(at) })
      return create(VerdictSchema, { ...of, tag, outcome: { case: 'sequenced', value } })
    }
    case 'past':
      return pastVerdict(of)
    case 'held':
      return stop ? { ...stop, tag: said.tag } : heldVerdict(of)
    case 'behind':
      return behindVerdict(outcome.k)
    case 'conflict':
      return finalVerdict(of, 'conflict', 'this k has another content')
    case 'no_room':
      return waitVerdict(of, 'no_room', 'too much is held for this device', 1_000)
  }
}

/** A host's answer; undefined when there is nothing to say but how far it has come. */
export function hostVerdict(outcome: HostOutcome, of: Of): Verdict | undefined {
  switch (outcome.do) {
    case 'append':
    case 'duplicate':
      return undefined
    case 'past':
      return pastVerdict(of)
    case 'behind':
      return behindVerdict(outcome.k)
    case 'stale': {
      const value = create(StaleManifestsSchema, {
        code: 'stale_manifest',
        newest: outcome.newest.map((v) => ({ ...v })),
      })
      return create(VerdictSchema, { ...of, outcome: { case: 'stale', value } })
    }
    case 'final':
      return finalVerdict(of, outcome.code, `the host refuses it: ${outcome.code}`)
  }
}
