// What a client writes down while it talks: append only, each line one write, before or after what it tells of. What was
// written survives SIGKILL. The reader of these files is checker code: it takes nothing from the client but the lines.
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'

/** `i` counts the lines said to one person, from 1; `at` is the place in the conversation; times are `sharedMs`. */
export type Line =
  | readonly ['boot', ms: number]
  /** Before the line goes to the SDK. */
  | readonly ['say', to: string, i: number, text: string, ms: number]
  /** It is durable on this device and has its k. */
  | readonly ['stored', to: string, i: number, k: number]
  /** The home has taken it. */
  | readonly ['held', to: string, k: number]
  /** It has its place. */
  | readonly ['sequenced', to: string, k: number, at: number]
  | readonly ['got', from: string, k: number, at: number, kind: string, text: string, ms: number]
  /** What should not happen to anybody. */
  | readonly ['odd', what: string]

export type Journal = Disposable & { write(line: Line): void }

function endsWhole(file: string): boolean {
  const descriptor = openSync(file, 'a+')
  try {
    const { size } = fstatSync(descriptor)
    const last = Buffer.alloc(1)
    return size === 0 || (readSync(descriptor, last, 0, 1, size - 1) === 1 && last[0] === 0x0a)
  } finally {
    closeSync(descriptor)
  }
}

/** Appends to the file; a line that a kill has cut off is left as it is, on a line of its own. */
export function openJournal(file: string, ms: number): Journal {
  const mend = endsWhole(file) ? '' : '\n'
  const descriptor = openSync(file, 'a')
  const write = (line: Line): void => void writeSync(descriptor, `${JSON.stringify(line)}\n`)
  writeSync(descriptor, mend)
  write(['boot', ms])
  return { write, [Symbol.dispose]: () => closeSync(descriptor) }
}

/** Only the line before a `boot` may have been cut off. */
export function readJournal(text: string): Line[] {
  const lines = text.split('\n')
  return lines.flatMap((line, i): Line[] => {
    if (line === '') return []
    try {
      return [JSON.parse(line)]
    } catch (error) {
      if (i === lines.length - 1 || lines[i + 1]?.startsWith('["boot"')) return []
      throw new Error(`a journal has a broken line: ${line.slice(0, 80)}`, { cause: error })
    }
  })
}
