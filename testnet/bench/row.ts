// A row of the bench: one thing measured, figures with their targets.
import type { Plot } from './plot.ts'
import type { Stage } from './stage.ts'

/** What a figure should be. */
export type Target = { readonly is: 'at least' | 'at most'; readonly value: number }

export type Figure = {
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly target: Target | undefined
}

export type Outcome = {
  readonly figures: readonly Figure[]
  /** In words: how busy processes were, what was refused, what is missing. */
  readonly notes: readonly string[]
  /** What a relay did that none may do: then the command fails, however good the figures are. */
  readonly faults: readonly string[]
  readonly plot?: Plot
}

export type RowOptions = {
  readonly pairs: number | undefined
  readonly flight: number | undefined
  readonly seconds: number | undefined
  /** The large sizes. */
  readonly full: boolean
}

export type Row = {
  /** It can drive a relay that it did not start. */
  readonly elsewhere?: true
  readonly name: string
  readonly title: string
  run(stage: Stage, options: RowOptions): Promise<Outcome>
}

/** Undefined: there is no target, or nothing was measured (NaN). */
export function isMet({ value, target }: Figure): boolean | undefined {
  if (!target || Number.isNaN(value)) return undefined
  return target.is === 'at least' ? value >= target.value : value <= target.value
}

export const atLeast = (value: number): Target => ({ is: 'at least', value })
export const atMost = (value: number): Target => ({ is: 'at most', value })

export function figure(name: string, value: number, unit: string, target?: Target): Figure {
  return { name, value, unit, target }
}
