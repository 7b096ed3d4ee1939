// Whether everything that was said has arrived and nothing is owed any more, as clients and relays tell it themselves.

import { systemClock } from '#protocol'
import type { Standing } from '../clients/orders.ts'
import { DRAIN_EVERY_MS, DRAIN_MAX_MS } from './limits.ts'
import type { Stage } from './stage.ts'
import { PAIRS, pause } from './stage.ts'

type Standings = ReadonlyMap<string, readonly Standing[]>

/** n of a place in the first epoch. */
const numberOf = (place: number): number => place % 2 ** 32

async function standings({ people }: Stage): Promise<Standings> {
  return new Map(
    await Promise.all(
      people.map(async (it) => [it.name, (await it.client().ask({ do: 'standing' })) as Standing[]] as const),
    ),
  )
}

function openThreads(stage: Stage, found: Standings): string[] {
  const idOf = (name: string): string => stage.people.find((it) => it.name === name)!.person.userId
  const of = (name: string, other: string): Standing => found.get(name)!.find(({ user }) => user === idOf(other))!
  return PAIRS.flatMap(([one, other]): string[] => {
    const [a, b] = [of(one, other), of(other, one)]
    const said = a.said + b.said
    const open = [a, b].flatMap((it, i) => {
      const name = [one, other][i]
      if (it.waiting > 0) return [`${name}: ${it.waiting} without a number`]
      if (numberOf(it.last) !== said) return [`${name}: has ${numberOf(it.last)} of ${said}`]
      return []
    })
    return open.map((what) => `${one} and ${other}: ${what}`)
  })
}

type Metrics = { readonly name: string; readonly text: string }

async function metrics({ network }: Stage): Promise<Metrics[]> {
  return await Promise.all(
    network.regions.map(async ({ name, relay }) => {
      const origin = new URL(String(relay.ready.healthUrl)).origin
      const text = fetch(`${origin}/metrics`).then((response) => response.text())
      return { name, text: await text.catch((error: unknown) => String(error)) }
    }),
  )
}

/** What a relay says that it still owes: gauges of its metrics. */
function owed(all: readonly Metrics[]): string[] {
  return all.flatMap(({ name, text }) => {
    const found = [...text.matchAll(/^parley_owed\{what="(\w+)"\} (\d+)$/gm)]
    if (found.length === 0) return [`${name} does not tell what it owes`]
    return found.filter(([, , count]) => count !== '0').map(([, what, count]) => `${name} owes ${count} (${what})`)
  })
}

/** It may be that those who should hear of it cannot be reached. */
const linked = (all: readonly Metrics[]): string[] =>
  all.map(({ name, text }) => `${name} has ${/^parley_links_up (\d+)$/m.exec(text)?.[1] ?? 'unknown'} links`)

export type Drained = { readonly ms: number; readonly left: readonly string[] }

/** Nobody says anything any more. `left` is empty unless it took too long. */
export async function untilDrained(stage: Stage, maxMs = DRAIN_MAX_MS): Promise<Drained> {
  const began = systemClock.monotonic()
  for (;;) {
    const threads = openThreads(stage, await standings(stage))
    const left = threads.length > 0 ? threads : owed(await metrics(stage))
    const ms = systemClock.monotonic() - began
    if (left.length === 0) return { ms, left }
    if (ms > maxMs) return { ms, left: [...left, ...linked(await metrics(stage))] }
    await pause(DRAIN_EVERY_MS)
  }
}
