// One real process of a local network: a log of its own, a ready line to wait for, signals, and the same start again.
// The child holds one end of a pipe (descriptor 3, named by PARLEY_PARENT_FD) and ends when we are gone, however we went.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, createWriteStream, openSync, type WriteStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { type Clock, ParleyError } from '#protocol'
import { LINE_MAX_CHARS, LOG_TAIL_BYTES, READY_MAX_MS, STOP_PATIENCE_MS } from './limits.ts'

export type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null }
export type ReadyFacts = Readonly<Record<string, unknown>>

/** What Node is given besides the program: options in front of it, and variables. */
export type Preload = { readonly args: readonly string[]; readonly env: Readonly<Record<string, string>> }
export const NOTHING_PRELOADED: Preload = { args: [], env: {} }

export type ProcessOptions = {
  readonly name: string
  /** Arguments of the Node that runs us. */
  readonly args: readonly string[]
  readonly logFile: string
  readonly env: Readonly<Record<string, string>>
  readonly clock: Clock
  /** Called when the process ends although nobody asked it to. */
  readonly onLost: (exit: Exit) => void
}

export type ManagedProcess = AsyncDisposable & {
  readonly name: string
  readonly logFile: string
  /** Undefined while it does not run. */
  readonly pid: number | undefined
  /** What its newest ready line said. */
  readonly ready: ReadyFacts
  /** Resolves when it says that it is ready; `unreachable` with the end of its log when it ends before. */
  start(): Promise<void>
  /** SIGTERM, and SIGKILL if that does not help. */
  stop(): Promise<Exit | undefined>
  /** SIGKILL and the like: resolves when it is gone. */
  kill(signal?: NodeJS.Signals): Promise<Exit | undefined>
  /** Resolves when it is gone; that it goes by itself is no surprise from now on. */
  ends(): Promise<Exit | undefined>
  /** SIGSTOP, SIGCONT: sent, not waited for. */
  signal(signal: NodeJS.Signals): void
  /** `stop` and `start`, with the same directories and ports. */
  restart(): Promise<void>
}

/** The facts of a line like `{"ready":true,...}`. */
export function readyFacts(line: string): ReadyFacts | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null && 'ready' in value && value.ready === true
      ? { ...value }
      : undefined
  } catch {
    return undefined
  }
}

async function tailOf(file: string): Promise<string> {
  await using handle = await open(file)
  const { size } = await handle.stat()
  const length = Math.min(size, LOG_TAIL_BYTES)
  const { buffer } = await handle.read(Buffer.alloc(length), 0, length, size - length)
  return buffer.toString('utf8').trim().split('\n').slice(-3).join(' | ')
}

/** Standard output goes to the log; the first ready line is handed on. */
function follow(child: ChildProcess, log: WriteStream, found: (facts: ReadyFacts) => void): void {
  let rest = ''
  let searching = true
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    log.write(chunk)
    if (!searching) return
    const lines = (rest + chunk).split('\n')
    rest = (lines.pop() ?? '').slice(-LINE_MAX_CHARS)
    const facts = lines.map(readyFacts).find((it) => it !== undefined)
    if (!facts) return
    searching = false
    found(facts)
  })
}

/**
 * Its end is a surprise once it is ready, unless somebody asked for it: also before its ready line was read, which may wait
 * in the pipe for longer than the process lives.
 */
type Running = { readonly child: ChildProcess; readonly exited: Promise<Exit>; isReady: boolean; isAsked: boolean }

export function managedProcess(options: ProcessOptions): ManagedProcess {
  const { name, logFile, clock } = options
  let running: Running | undefined
  let ready: ReadyFacts = {}

  function launch(found: (facts: ReadyFacts) => void): Running {
    const errors = openSync(logFile, 'a')
    const child = spawn(process.execPath, [...options.args], {
      stdio: ['ignore', 'pipe', errors, 'pipe'],
      env: { ...process.env, PARLEY_VERBOSE: '1', ...options.env, PARLEY_PARENT_FD: '3' },
    })
    closeSync(errors)
    child.stdio[3]?.on('error', () => {})
    const log = createWriteStream(logFile, { flags: 'a' })
    follow(child, log, found)
    const exited = once(child, 'close').then(([code, signal]): Exit => {
      log.end()
      if (running === started) running = undefined
      const exit: Exit = { code, signal }
      if (started.isReady && !started.isAsked) options.onLost(exit)
      return exit
    })
    const started: Running = { child, exited, isReady: false, isAsked: false }
    return started
  }

  async function start(): Promise<void> {
    if (running) throw new Error(`${name} runs already`)
    const { promise, resolve } = Promise.withResolvers<ReadyFacts>()
    const started = launch(resolve)
    running = started
    const late = Promise.withResolvers<'late'>()
    const timer = clock.after(READY_MAX_MS, () => late.resolve('late'))
    const outcome = await Promise.race([promise, started.exited.then((exit) => ({ exit })), late.promise])
    timer.cancel()
    if (outcome === 'late') {
      await kill('SIGKILL')
      throw new ParleyError(
        'timeout',
        `${name} was not ready after ${READY_MAX_MS} ms; its log ends: ${await tailOf(logFile)}`,
      )
    }
    if (started.child.exitCode !== null || started.child.signalCode !== null) {
      const how = started.child.signalCode ?? `code ${started.child.exitCode}`
      throw new ParleyError('unreachable', `${name} ended (${how}) before it was ready: ${await tailOf(logFile)}`, {
        log: logFile,
        next: `read ${logFile}`,
      })
    }
    ready = outcome as ReadyFacts
    started.isReady = true
  }

  async function kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit | undefined> {
    const target = running
    if (!target) return undefined
    target.isAsked = true
    target.child.kill(signal)
    return await target.exited
  }

  async function ends(): Promise<Exit | undefined> {
    if (running) running.isAsked = true
    return await running?.exited
  }

  async function stop(): Promise<Exit | undefined> {
    const force = clock.after(STOP_PATIENCE_MS, () => running?.child.kill('SIGKILL'))
    try {
      // A stopped (SIGSTOP) process does not see SIGTERM before it goes on.
      running?.child.kill('SIGCONT')
      return await kill('SIGTERM')
    } finally {
      force.cancel()
    }
  }

  return {
    name,
    logFile,
    get pid() {
      return running?.child.pid
    },
    get ready() {
      return ready
    },
    start,
    stop,
    kill,
    ends,
    signal: (signal) => void running?.child.kill(signal),
    async restart() {
      await stop()
      await start()
    },
    async [Symbol.asyncDispose]() {
      await stop()
    },
  }
}
