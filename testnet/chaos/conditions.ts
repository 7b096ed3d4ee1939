// Faults of the network as conditions of the weather.
import type { Fault } from './schedule.ts'
import type { Condition } from './weather.ts'

type NetworkFault = Fault & { is: 'network' }
type Touches = Condition['touches']

/** Between relays; what one of them has to do with people or the entry node stays as it is. */
function between(order: readonly string[], apart: (one: number, other: number) => boolean): Touches {
  return (from, to) => {
    const [one, other] = [order.indexOf(from), order.indexOf(to)]
    return one >= 0 && other >= 0 && apart(one, other)
  }
}

function touchesOf({ kind, order, pair: [one, other] }: NetworkFault): Touches {
  const half = Math.floor(order.length / 2)
  switch (kind) {
    case 'halves':
      return between(order, (a, b) => a < half !== b < half)
    case 'ring':
      return between(order, (a, b) => ![1, order.length - 1].includes(Math.abs(a - b)))
    case 'one alone':
      return (from, to) => from === order[0] || to === order[0]
    case 'one way':
      return (from, to) => from === one && to === other
    case 'slow':
      return between(order, (a, b) => a !== b)
    case 'thin':
    case 'stall':
    case 'reset':
      return (from, to) => (from === one && to === other) || (from === other && to === one)
  }
}

export function conditionOf(fault: NetworkFault): Condition {
  const touches = touchesOf(fault)
  const { kind, loud, delayMs, jitterMs, bytesPerSecond } = fault
  if (kind === 'slow') return { touches, delayMs, jitterMs }
  if (kind === 'thin') return { touches, bytesPerSecond }
  if (kind === 'reset' || (loud && kind !== 'stall' && kind !== 'one way')) return { touches, cut: true }
  return { touches, silent: true }
}
