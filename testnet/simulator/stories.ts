// Stories that failed once, in short: what shrinking left of a seed. Scenes of whole seeds change when anything is drawn
// otherwise; these do not, and are played first.
import type { Scene } from './acts.ts'
import KEPT from './stories.json' with { type: 'json' }

export const STORIES = KEPT as unknown as readonly Scene[]

/** The one of that seed. */
export function storyOf(seed: number): Scene {
  const story = STORIES.find((it) => it.seed === seed)
  if (!story) throw new Error(`there is no story of seed ${seed}; there are ${STORIES.map((it) => it.seed).join(', ')}`)
  return story
}
