// What the paths between processes are like: conditions come and go, and each path is the sum of those that touch it.
export type Condition = {
  /** Which directions it touches. */
  readonly touches: (from: string, to: string) => boolean
  readonly delayMs?: number
  readonly jitterMs?: number
  readonly bytesPerSecond?: number
  /** Nothing gets through, and nobody is told. */
  readonly silent?: true
  /** Connections are cut and refused. */
  readonly cut?: true
}

/** One direction between two processes. */
export type Path = {
  readonly from: string
  readonly to: string
  delayMs: number
  jitterMs: number
  bytesPerSecond: number
  silent: boolean
  cut: boolean
}

export type Weather = {
  path(from: string, to: string): Path
  /** Returns what ends the condition. */
  begin(condition: Condition): () => void
  /** Called for each path that has become different. */
  onChange(listener: (path: Path) => void): void
}

function apply(path: Path, conditions: Iterable<Condition>): void {
  Object.assign(path, { delayMs: 0, jitterMs: 0, bytesPerSecond: Number.POSITIVE_INFINITY, silent: false, cut: false })
  for (const it of conditions) {
    if (!it.touches(path.from, path.to)) continue
    path.delayMs += it.delayMs ?? 0
    path.jitterMs += it.jitterMs ?? 0
    path.bytesPerSecond = Math.min(path.bytesPerSecond, it.bytesPerSecond ?? Number.POSITIVE_INFINITY)
    path.silent ||= it.silent ?? false
    path.cut ||= it.cut ?? false
  }
}

export function createWeather(): Weather {
  const paths = new Map<string, Path>()
  const conditions = new Set<Condition>()
  const listeners: ((path: Path) => void)[] = []
  const changed = ({ touches }: Condition): void => {
    for (const path of paths.values()) {
      if (!touches(path.from, path.to)) continue
      apply(path, conditions)
      for (const listener of listeners) listener(path)
    }
  }
  return {
    path(from, to) {
      const name = `${from} ${to}`
      let path = paths.get(name)
      if (!path) {
        path = { from, to } as Path
        apply(path, conditions)
        paths.set(name, path)
      }
      return path
    },
    begin(condition) {
      conditions.add(condition)
      changed(condition)
      return () => {
        if (conditions.delete(condition)) changed(condition)
      }
    },
    onChange: (listener) => void listeners.push(listener),
  }
}
