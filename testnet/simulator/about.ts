// Seeds that tell stories of one kind: what is rare among all of them is looked at by itself.
import type { Ending, Scene } from './acts.ts'
import { sceneOf } from './scene.ts'

/** Name -> what it is about, for people. */
export const ABOUT = {
  moves: 'somebody moves twice or more often',
  destroyed: 'a region is destroyed',
  restored: 'the disk of a region goes back to what it was',
} as const
export type About = keyof typeof ABOUT

const ENDS: Readonly<Partial<Record<About, Ending>>> = {
  destroyed: 'a region is destroyed',
  restored: 'a disk goes back',
}

function isAbout(about: About, { ending, acts }: Scene): boolean {
  if (about !== 'moves') return ending === ENDS[about]
  const movers = acts.flatMap((act) => (act.what === 'move' ? [act.by] : []))
  return new Set(movers).size < movers.length
}

/** So many seeds, ascending, from `first` on; of all stories, or only of those about something. */
export function seedsAbout(about: About | undefined, first: number, count: number): number[] {
  const found: number[] = []
  for (let seed = first; found.length < count; seed++)
    if (about === undefined || isAbout(about, sceneOf(seed))) found.push(seed)
  return found
}
