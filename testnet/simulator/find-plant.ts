// Whether a planted bug is found: by which check, with which seed.
import { seedsAbout } from './about.ts'
import type { Plant } from './plants.ts'
import { runSeeds } from './run-seeds.ts'
import { storyOf } from './stories.ts'

export type Finding = { readonly seed: number; readonly what: string; readonly tried: number }

/** Undefined when no seed up to the plant's last one shows a violation of one of its checks. */
export async function findPlant(plant: Plant): Promise<Finding | undefined> {
  let finding: Finding | undefined
  let tried = 0
  await runSeeds({
    seeds: plant.story ? [storyOf(plant.story)] : seedsAbout(plant.about, plant.first ?? 1, plant.seeds),
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
