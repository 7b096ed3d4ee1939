// What processes cost and where they run: /proc on Linux; elsewhere figures of CPU time are missing.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { availableParallelism, cpus, setPriority } from 'node:os'
import { promisify } from 'node:util'

const run = promisify(execFile)
/** Clock ticks a second in /proc: fixed by Linux's interface. */
const TICKS_PER_SECOND = 100

/** CPU time that a process and all its threads have used, user and system, ms; NaN where it cannot be read. */
export async function cpuMs(pid: number): Promise<number> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may have spaces; what follows begins with the state, field 3.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND
  } catch {
    return Number.NaN
  }
}

export type Placement = {
  readonly server: string | undefined
  readonly load: string | undefined
  readonly says: string
}

/** One core for servers and one for load where there are two and `taskset`; more cores: servers one, load the others. */
export async function placement(): Promise<Placement> {
  const cores = availableParallelism()
  const model = `${cores} × ${cpus()[0]?.model ?? 'unknown CPU'}`
  const has = await run('taskset', ['--version']).then(
    () => true,
    () => false,
  )
  if (!has || cores < 2) {
    const why = cores < 2 ? 'one core' : 'no taskset'
    return { server: undefined, load: undefined, says: `${model}; processes run where the system puts them (${why})` }
  }
  const load = cores === 2 ? '1' : `1-${cores - 1}`
  return { server: '0', load, says: `${model}; servers on core 0, load on ${cores === 2 ? 'core 1' : `cores ${load}`}` }
}

/** Of a process that comes behind others on its core. */
export const BEHIND_NICE = 10

/**
 * A process that runs when nobody else wants its core, and leaves it at once when somebody does. With a lower priority alone
 * it would keep the core for some milliseconds each time, and whoever measures beside it would measure that.
 */
export async function behindAll(pid: number): Promise<void> {
  await run('chrt', ['--all-tasks', '--idle', '--pid', '0', `${pid}`]).catch(() => setPriority(pid, BEHIND_NICE))
}

/** One of many again: nobody measures any more, and it shall come to an end. */
export async function besideAll(pid: number): Promise<void> {
  await run('chrt', ['--all-tasks', '--other', '--pid', '0', `${pid}`]).catch(() => undefined)
}

/**
 * A process that runs at once when it has something to do: one that measures, needs little, and would measure its own wait
 * for a core otherwise. Needs rights that not everybody has; without them it stays as it is.
 */
export async function aheadOfAll(pid: number): Promise<void> {
  await run('chrt', ['--all-tasks', '--rr', '--pid', '1', `${pid}`]).catch(() => undefined)
}

/** Moves a process with all its threads. */
export async function pin(pid: number, cores: string | undefined): Promise<void> {
  if (cores !== undefined) await run('taskset', ['-a', '-p', '-c', cores, `${pid}`])
}
