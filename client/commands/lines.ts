// Standard input as lines of bytes. A line ends at \n, which is not part of it; \r is. A last line without \n counts,
// nothing after a last \n does not. Empty lines are lines.
import { limits, ParleyError } from '#protocol'

const NEWLINE = 0x0a

export type Line = { readonly number: number; readonly bytes: Uint8Array }

function tooLong(number: number): ParleyError {
  const limit = limits.CONTENT_MAX_BYTES
  return new ParleyError('too_large', `line ${number} is longer than ${limit} bytes`, {
    limit: `${limit}`,
    next: 'break the line, or send the whole input with --whole if it is small enough',
  })
}

export async function* linesOf(input: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  let rest: Uint8Array[] = []
  let length = 0
  let number = 0
  for await (const chunk of input) {
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      const bytes = Buffer.concat([...rest, chunk.subarray(start, end)])
      if (bytes.length > limits.CONTENT_MAX_BYTES) throw tooLong(number + 1)
      yield { number: ++number, bytes: new Uint8Array(bytes) }
      rest = []
      length = 0
      start = end + 1
    }
    length += chunk.length - start
    if (length > limits.CONTENT_MAX_BYTES) throw tooLong(number + 1)
    if (start < chunk.length) rest.push(chunk.slice(start))
  }
  if (length > 0) yield { number: ++number, bytes: new Uint8Array(Buffer.concat(rest)) }
}

/** Everything as one line; `too_large` beyond what a message holds. */
export async function* wholeOf(input: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of input) {
    chunks.push(chunk)
    length += chunk.length
    if (length > limits.CONTENT_MAX_BYTES) {
      const limit = limits.CONTENT_MAX_BYTES
      throw new ParleyError('too_large', `the input is longer than ${limit} bytes`, { limit: `${limit}` })
    }
  }
  if (length > 0) yield { number: 1, bytes: new Uint8Array(Buffer.concat(chunks)) }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Text when the bytes are UTF-8, else the bytes as they are. */
export function contentOf(bytes: Uint8Array): string | Uint8Array {
  try {
    return decoder.decode(bytes)
  } catch {
    return bytes
  }
}
