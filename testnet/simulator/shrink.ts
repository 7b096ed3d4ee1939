// From a seed that fails to a short story: acts are left out, then people, as long as the same check still finds fault
// with what remains (delta debugging, Zeller 2002). What is left is told in words.
import { type Act, inWords, type Names, peopleOf, type Scene } from './acts.ts'
import { castOf } from './cast.ts'
import { type Outcome, runScene } from './run.ts'

export type ShrinkOptions = {
  /** How many times a scene may be played. */
  readonly plays: number
  readonly progress: (line: string) => void
}
export type Shrunk = { readonly scene: Scene; readonly outcome: Outcome; readonly played: number }

const checkOf = (violation: string): string => violation.slice(0, violation.indexOf(':'))

/** Undefined when the scene does not fail at all. */
export async function shrink(whole: Scene, options: ShrinkOptions): Promise<Shrunk | undefined> {
  const first = await runScene(whole)
  const check = first.violations[0] && checkOf(first.violations[0])
  if (check === undefined) return undefined
  let played = 1
  let best: Shrunk = { scene: { ...whole, least: undefined }, outcome: first, played }
  const fails = async (scene: Scene): Promise<boolean> => {
    if (played >= options.plays) return false
    played++
    const outcome = await runScene(scene)
    if (!outcome.violations.some((violation) => checkOf(violation) === check)) return false
    best = { scene, outcome, played }
    return true
  }
  const tell = (what: string): void =>
    options.progress(`${what}: ${best.scene.acts.length} acts, ${best.scene.people.length} people, ${played} plays`)
  tell(`looking for "${check}" in less`)
  for (let before = Number.POSITIVE_INFINITY; weight(best.scene) < before && played < options.plays; ) {
    before = weight(best.scene)
    await fewer(
      () => best.scene.acts,
      (acts) => fails({ ...best.scene, acts }),
    )
    tell('without acts that are not needed')
    await fewer(
      () => best.scene.people,
      (people) => fails(withPeople(best.scene, people)),
    )
    tell('without people who are not needed')
    for (const simpler of simplerScenes(best.scene)) await fails(simpler)
    await smallerActs(() => best.scene, fails)
    tell('with smaller acts')
  }
  return { ...best, played }
}

const weight = ({ acts, people }: Scene): number =>
  acts.length + people.length + acts.reduce((sum, act) => sum + (act.what === 'say' ? act.count / 100 : 0), 0)

/** Leaves out runs of elements, long ones first, as long as what remains `stillFails`. */
async function fewer<T>(now: () => readonly T[], stillFails: (rest: readonly T[]) => Promise<boolean>): Promise<void> {
  for (let size = Math.ceil(now().length / 2); size >= 1; size = size > 1 ? Math.ceil(size / 2) : 0) {
    for (let from = 0; from < now().length; ) {
      const rest = [...now().slice(0, from), ...now().slice(from + size)]
      if (!(await stillFails(rest))) from += size
    }
  }
}

/** Whoever does not take part does nothing. */
function withPeople(scene: Scene, people: readonly number[]): Scene {
  const there = new Set(people)
  return { ...scene, people, acts: scene.acts.filter((act) => peopleOf(act).every((index) => there.has(index))) }
}

function simplerScenes(scene: Scene): Scene[] {
  const last = Math.max(0, ...scene.acts.map(({ at }) => at)) + 1
  const simpler: Scene[] = []
  if (scene.ending !== 'rest') simpler.push({ ...scene, ending: 'rest' })
  if (scene.bytes) simpler.push({ ...scene, bytes: false })
  if (scene.slowCipher) simpler.push({ ...scene, slowCipher: false })
  if (last < scene.lengthMs - 1) simpler.push({ ...scene, lengthMs: last })
  return simpler
}

async function smallerActs(now: () => Scene, stillFails: (scene: Scene) => Promise<boolean>): Promise<void> {
  for (let i = 0; i < now().acts.length; i++) {
    for (const act of smaller(now().acts[i]!)) {
      const acts = now().acts.map((other, j) => (i === j ? act : other))
      if (await stillFails({ ...now(), acts })) break
    }
  }
}

function smaller(act: Act): Act[] {
  if (act.what !== 'say' || act.count === 1) return []
  return [1, Math.ceil(act.count / 2)].map((count) => ({ ...act, count }))
}

/** The story, for people: who does what when, how it ends, and what is wrong then. */
export function tell({ scene, outcome }: Shrunk): string[] {
  const cast = castOf(scene.counts)
  const names: Names = { person: (index) => cast.people[index]!.name, region: (index) => cast.regions[index]!.name }
  const homes = cast.regions
    .map(({ id, name }) => {
      const there = scene.people.map((index) => cast.people[index]!).filter(({ region }) => region === id)
      return `${name} is home to ${there.map((person) => person.name).join(', ') || 'nobody'}`
    })
    .join('; ')
  return [
    `${homes}.`,
    ...scene.acts.map((act) => `${`${Math.round(act.at)} ms`.padStart(8)}  ${inWords(act, names)}`),
    `${`${Math.round(scene.lengthMs)} ms`.padStart(8)}  everything heals; ending: ${scene.ending}`,
    'What goes wrong:',
    ...outcome.violations.slice(0, VIOLATIONS_TOLD).map((violation) => `  ${violation}`),
  ]
}

const VIOLATIONS_TOLD = 5
