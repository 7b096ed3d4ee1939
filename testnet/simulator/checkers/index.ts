// The promises that every simulated network is held to.
import { deposed } from './deposed.ts'
import { sentIsDurable, toldIsDurable } from './durable.ts'
import { noDuplicate, nothingLost, oneOrder } from './promises.ts'
import { bounded, converges, marks } from './rest.ts'
import { transitions } from './transitions.ts'
import type { Checker, Outside } from './types.ts'

export { JUDGED_ITEMS } from './durable.ts'
export type { Between, Checker, Final, Moved, Outside, Sent, Told } from './types.ts'

export function allCheckers(outside: Outside, limits: Parameters<typeof bounded>[0]): Checker[] {
  return [
    toldIsDurable(outside),
    sentIsDurable(outside),
    nothingLost(outside),
    deposed(outside),
    noDuplicate(outside),
    oneOrder(outside),
    converges(outside),
    marks(outside),
    bounded(limits),
    transitions(outside),
  ]
}
