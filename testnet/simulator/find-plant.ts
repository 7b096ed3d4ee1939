// Whether a planted bug is found: by which check, with which seed.
import type { Plant } from './plants.ts'
import { runSeeds } from './run-seeds.ts'
import { sceneOf } from './scene.ts'

export type Finding = { readonly seed: number; readonly what: string; readonly tried: number }

function seedsOf({ seeds, first = 1, ending }: Plant): number[] {
  const found: number[] = []
  for (let seed = first; found.length < seeds; seed++)
    if (ending === undefined || sceneOf(seed).ending === ending) found.push(seed)
  return found
}

/** Undefined when no seed up to the plant's last one shows a violation of one of its checks. */
export async function findPlant(plant: Plant): Promise<Finding | undefined> {
  let finding: Finding | undefined
  let tried = 0
  await runSeeds({
    seeds: seedsOf(plant),
    processes: 1,
    plant: plant.id,
    outcome: ({ seed, violations }) => {
      tried++
      const what = violations.find((violation) => plant.checks.some((check) => violation.startsWith(`${check}:`)))
      if (what !== undefined) finding = { seed, what, tried }
      return finding !== undefined
    },
  })
  return finding
}
