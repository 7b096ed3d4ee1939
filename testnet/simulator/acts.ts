// What people do and what goes wrong, as plain data: a seed's story is a list of acts, made before anything runs, so
// that acts can be left out of it and the rest told again.

/** People and regions are places in the cast. Times and durations in ms. */
export type Deed =
  | { readonly what: 'say'; readonly by: number; readonly to: number; readonly count: number; readonly large?: true }
  | { readonly what: 'cancel' | 'read' | 'renew'; readonly by: number }
  | { readonly what: 'disconnect' | 'crash device'; readonly by: number }
  | { readonly what: 'slow device' | 'pause device'; readonly by: number; readonly ms: number }
  | { readonly what: 'back up' | 'restore'; readonly by: number }
  | { readonly what: 'destroy at an acknowledgement'; readonly by: number; readonly region: number | undefined }
  | { readonly what: 'crash at an acknowledgement'; readonly by: number; readonly region: number; readonly ms: number }
  | { readonly what: 'move'; readonly by: number; readonly to: number }
  | { readonly what: 'crash relay' | 'pause relay'; readonly region: number; readonly ms: number }
  | { readonly what: 'second owner'; readonly region: number; readonly pausedMs: number; readonly lingerMs: number }
  | { readonly what: 'clock jump'; readonly region: number; readonly by: number | undefined; readonly jumpMs: number }
  | { readonly what: 'disk'; readonly region: number; readonly way: 'failing' | 'unknown' | 'silent' }
  | { readonly what: 'slow disk'; readonly region: number; readonly ms: number; readonly writeMs: number }
  | {
      readonly what: 'full disk'
      readonly region: number
      readonly ms: number
      readonly spareBytes: number
      readonly reserveBytes: number
    }
  | { readonly what: 'copy disk'; readonly region: number }
  | { readonly what: 'cut' | 'stall' | 'one way'; readonly region: number; readonly other: number; readonly ms: number }
  | { readonly what: 'halves'; readonly side: readonly number[]; readonly ms: number }
  | { readonly what: 'ring'; readonly order: readonly number[]; readonly ms: number }
  | { readonly what: 'swizzle'; readonly cuts: readonly Cut[] }

/** A link that stops `fromMs` after the act and starts again `toMs` after it. */
export type Cut = { readonly region: number; readonly other: number; readonly fromMs: number; readonly toMs: number }
export type Act = Deed & { readonly at: number }
export type DeedKind = Deed['what']

export const ENDINGS = [
  ...(['rest', 'checkpoint and crash', 'crash and rest', 'checkpoint, crash and more'] as const),
  ...(['a region is destroyed', 'a disk goes back'] as const),
] as const
export type Ending = (typeof ENDINGS)[number]

export type Scene = {
  readonly seed: number
  /** People in each region. */
  readonly counts: readonly number[]
  /** Of all these people, those who take part. */
  readonly people: readonly number[]
  /** Frames between devices and homes go through the codec; otherwise they are handed over as they are. */
  readonly bytes: boolean
  /** Encrypting and decrypting takes time, so that things happen in the middle of a turn. */
  readonly slowCipher: boolean
  readonly acts: readonly Act[]
  readonly lengthMs: number
  readonly ending: Ending
  /** The figures that every whole scene has to reach; a shrunk one does not. */
  readonly least: { readonly messages: number; readonly faults: number } | undefined
}

const NOT_FAULTS: ReadonlySet<DeedKind> = new Set(['say', 'cancel', 'read', 'renew', 'back up', 'move', 'copy disk'])
export const isFault = ({ what }: Deed): boolean => !NOT_FAULTS.has(what)

export function peopleOf(deed: Deed): number[] {
  if (deed.what === 'say') return [deed.by, deed.to]
  return 'by' in deed && deed.by !== undefined ? [deed.by] : []
}

export type Names = { readonly person: (index: number) => string; readonly region: (index: number) => string }

const lasting = (ms: number): string => `for ${Math.round(ms)} ms`

/** A sentence. */
export function inWords(deed: Deed, { person, region }: Names): string {
  const by = 'by' in deed && deed.by !== undefined ? person(deed.by) : ''
  const at = 'region' in deed && deed.region !== undefined ? region(deed.region) : ''
  switch (deed.what) {
    case 'say':
      return `${by} says ${deed.large ? 'something too large' : deed.count === 1 ? 'something' : `${deed.count} things`} to ${person(deed.to)}`
    case 'cancel':
      return `${by} cancels the oldest that has no number`
    case 'read':
      return `${by} reads everything`
    case 'renew':
      return `${by} gets a new manifest`
    case 'move':
      return `${by} moves to ${region(deed.to)}`
    case 'disconnect':
      return `the connection of ${by} breaks`
    case 'crash device':
      return `the device of ${by} crashes and starts again`
    case 'slow device':
      return `nothing moves between ${by} and its home ${lasting(deed.ms)}`
    case 'pause device':
      return `the device of ${by} is paused ${lasting(deed.ms)}`
    case 'back up':
      return `the profile of ${by} is copied`
    case 'restore':
      return `the old copy of the profile of ${by} is put back, once the profile has gone on`
    case 'destroy at an acknowledgement':
      return `at its next acknowledgement the device of ${by} is destroyed${at ? `, and ${at} crashes` : ''}`
    case 'crash at an acknowledgement':
      return `at the next acknowledgement for ${by}, ${at} crashes ${lasting(deed.ms)}`
    default:
      return faultInWords(deed, region, by, at)
  }
}

type Fault = Exclude<Deed, { what: 'say' | 'cancel' | 'read' | 'renew' | 'move' | 'disconnect' | 'crash device' }>

function faultInWords(deed: Fault, region: Names['region'], by: string, at: string): string {
  switch (deed.what) {
    case 'crash relay':
      return `${at} crashes ${lasting(deed.ms)}`
    case 'pause relay':
      return `${at} is paused ${lasting(deed.ms)}`
    case 'second owner': {
      const old = deed.pausedMs > 0 ? `is paused ${lasting(deed.pausedMs)}` : 'runs on'
      return `another node of ${at} takes its store over, while the old one ${old}, ${lasting(deed.lingerMs)} at most`
    }
    case 'clock jump':
      return `the clock of ${by || at} jumps by ${Math.round(deed.jumpMs)} ms`
    case 'disk':
      return `the next write of ${at} is ${deed.way}`
    case 'slow disk':
      return `each write of ${at} takes up to ${Math.round(deed.writeMs)} ms, ${lasting(deed.ms)}`
    case 'full disk':
      return `the disk of ${at} has ${Math.round(deed.spareBytes)} bytes left, ${lasting(deed.ms)}`
    case 'copy disk':
      return `the disk of ${at} is copied`
    case 'cut':
      return `the link ${at}-${region(deed.other)} breaks ${lasting(deed.ms)}`
    case 'stall':
      return `nothing moves between ${at} and ${region(deed.other)} ${lasting(deed.ms)}`
    case 'one way':
      return `nothing moves from ${at} to ${region(deed.other)} ${lasting(deed.ms)}`
    case 'halves':
      return `${deed.side.map(region).join(' and ')} are cut off from the others ${lasting(deed.ms)}`
    case 'ring':
      return `of the regions ${deed.order.map(region).join(', ')} each reaches only the next, ${lasting(deed.ms)}`
    case 'swizzle':
      return `links stop and start: ${deed.cuts
        .map(
          (cut) =>
            `${region(cut.region)}-${region(cut.other)} from +${Math.round(cut.fromMs)} to +${Math.round(cut.toMs)}`,
        )
        .join(', ')}`
    default:
      return deed.what
  }
}
