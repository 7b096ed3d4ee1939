// A place in a conversation's log: (epoch, n), two unsigned numbers, held in one safe integer so that places compare
// and sort like numbers. n is dense from 1 within an epoch; n = 0 stands before the first entry of its epoch.
import { EPOCH_MAX, N_MAX } from './limits.ts'

declare const position: unique symbol
export type Position = number & { readonly [position]: true }

const SPAN = 2 ** 32

export function positionOf(epoch: number, n: number): Position {
  if (!Number.isInteger(epoch) || epoch < 0 || epoch > EPOCH_MAX) throw new RangeError(`epoch ${epoch}`)
  if (!Number.isInteger(n) || n < 0 || n > N_MAX) throw new RangeError(`n ${n}`)
  return (epoch * SPAN + n) as Position
}

export function isPosition(epoch: number, n: number): boolean {
  return epoch >= 0 && epoch <= EPOCH_MAX && n >= 0 && n <= N_MAX
}

export const NOWHERE = 0 as Position

export function epochOf(p: Position): number {
  return Math.floor(p / SPAN)
}

export function nOf(p: Position): number {
  return p % SPAN
}

/** The place after this one within the same epoch. */
export function nextOf(p: Position): Position {
  return (p + 1) as Position
}

/** "3.17": epoch 3, n 17. */
export function positionText(p: Position): string {
  return `${epochOf(p)}.${nOf(p)}`
}

export function earlier(a: Position, b: Position): Position {
  return a < b ? a : b
}
