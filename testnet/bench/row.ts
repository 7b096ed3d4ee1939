// A row of the bench: one thing measured, figures with their targets.
import type { Stage } from './stage.ts'

/** What a figure should be; `why` says where the number comes from if that is not plain. */
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
}

export type RowOptions = {
  readonly pairs: number | undefined
  readonly flight: number | undefined
  readonly seconds: number | undefined
  /** The large sizes. */
  readonly full: boolean
}

export type Row = {
  readonly name: string
  readonly title: string
  run(stage: Stage, options: RowOptions): Promise<Outcome>
}

export const isMet = ({ value, target }: Figure): boolean | undefined =>
  target && (target.is === 'at least' ? value >= target.value : value <= target.value)
