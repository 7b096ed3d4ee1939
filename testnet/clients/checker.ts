// Judges what two devices hold by itself: reads their dumps and the original text, knows the layout of a header from the
// specification (protocol/entry.md) and computes every hash of the chain anew. Shares no code with what it judges.
import { createHash } from 'node:crypto'

const HEADER_BYTES = 47
const VERSION = 1
const KIND_CONTENT = 1
const FAULTS_MAX = 20
const SPAN = 2 ** 32

export type DumpedMessage = {
  /** epoch * 2^32 + n. */
  readonly at: number
  readonly from: string
  readonly mine: boolean
  readonly member: number
  readonly device: number
  readonly registration: string
  readonly k: number
  readonly kind: string
  readonly status: string
  readonly timeMs: number
  /** base64 */
  readonly body: string
}

export type Dump = {
  readonly conv: string
  readonly self: string
  readonly peer: string
  /** Messages without a number. */
  readonly waiting: number
  /** The whole log, hex. */
  readonly headers: readonly string[]
  /** Those behind the place that was asked for, ascending. */
  readonly messages: readonly DumpedMessage[]
}

/** What each author has sent, in order: the original lines. */
export type Written = Readonly<Record<string, readonly string[]>>

export type Verdict = {
  readonly faults: readonly string[]
  readonly entries: number
  /** SHA-256 of the chain at the end, hex; of both sides. */
  readonly heads: readonly [string, string]
  /** SHA-256 of both histories. */
  readonly histories: readonly [string, string]
  /** The place of the newest entry. */
  readonly last: number
}

const LETTERS = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'

/** The 32 bytes of an id: 52 letters of five bits behind its last `1`, then six of a checksum. */
export function bytesOfId(id: string): Buffer {
  const letters = id.slice(id.lastIndexOf('1') + 1, -6)
  let bits = 0n
  for (const letter of letters) bits = bits * 32n + BigInt(LETTERS.indexOf(letter))
  const spare = BigInt(letters.length * 5 - 256)
  return Buffer.from((bits >> spare).toString(16).padStart(64, '0'), 'hex')
}

type Header = {
  readonly kind: number
  readonly epoch: number
  readonly n: number
  readonly author: string
  readonly k: number
  readonly timeMs: number
}

function headerOf(bytes: Buffer): Header {
  const registration = `${bytes.readUInt32BE(15)}.${bytes.readUInt32BE(19)}`
  return {
    kind: bytes.readUInt8(1),
    epoch: bytes.readUInt32BE(2),
    n: bytes.readUInt32BE(6),
    author: `${bytes.readUInt32BE(10)}.${bytes.readUInt8(14)}.${registration}`,
    k: bytes.readUInt32BE(23),
    timeMs: Number(bytes.readBigUInt64BE(39)),
  }
}

type Chain = { readonly headers: readonly Header[]; readonly head: string }

/** Dense numbers from 1 in one epoch; k dense from 1 for each author; every hash computed. */
function followChain(dump: Dump, fault: (what: string) => void): Chain {
  const headers: Header[] = []
  const lastK = new Map<string, number>()
  let hash = bytesOfId(dump.conv)
  for (const [i, text] of dump.headers.entries()) {
    const bytes = Buffer.from(text, 'hex')
    if (bytes.length !== HEADER_BYTES || bytes.readUInt8(0) !== VERSION) fault(`entry ${i + 1} is no header`)
    const header = headerOf(bytes)
    const { epoch, n, author, k } = header
    if (header.kind !== KIND_CONTENT) fault(`entry ${i + 1} is of kind ${header.kind}`)
    if (n !== i + 1 || epoch !== (headers[0]?.epoch ?? epoch)) fault(`entry ${i + 1} has the number ${epoch}.${n}`)
    if (k !== (lastK.get(author) ?? 0) + 1) fault(`${author}: k ${k} behind ${lastK.get(author) ?? 0}`)
    lastK.set(author, k)
    hash = createHash('sha256').update(hash).update(bytes).digest()
    headers.push(header)
  }
  if (lastK.size > 2) fault(`devices that wrote: ${[...lastK.keys()].join(', ')}`)
  return { headers, head: hash.toString('hex') }
}

/** Each message has the header of its place. */
function matchHeaders(dump: Dump, { headers }: Chain, fault: (what: string) => void): void {
  const first = headers.length - dump.messages.length
  for (const [i, message] of dump.messages.entries()) {
    const header = headers[first + i]
    if (!header) {
      fault(`${dump.messages.length} messages, ${headers.length} entries`)
      return
    }
    const { at, member, device, registration, k, timeMs, kind, status } = message
    const author = `${member}.${device}.${registration}`
    if (at !== header.epoch * SPAN + header.n) fault(`message ${i + 1} stands at ${at}, entry at ${header.n}`)
    if (author !== header.author || k !== header.k)
      fault(`${header.n}: ${author} k ${k}, entry ${header.author} ${header.k}`)
    if (timeMs !== header.timeMs) fault(`${header.n}: another time than its entry's`)
    if (kind !== 'text' || status !== 'sequenced') fault(`${header.n} is ${kind}, ${status}`)
    if (message.mine !== (message.from === dump.self)) fault(`${header.n}: mine is ${message.mine}`)
  }
  if (dump.waiting > 0) fault(`${dump.waiting} messages have no number`)
}

/** Every line of every author once, in order, byte for byte. */
function matchText(dump: Dump, written: Written, fault: (what: string) => void): void {
  for (const [author, lines] of Object.entries(written)) {
    const got = dump.messages.filter(({ from }) => from === author)
    if (got.length !== lines.length) fault(`${got.length} messages of ${author}, ${lines.length} lines were sent`)
    const wrong = got.findIndex(({ body }, i) => !Buffer.from(body, 'base64').equals(Buffer.from(lines[i] ?? '')))
    if (wrong >= 0)
      fault(
        `message ${wrong + 1} of ${author} is not line ${wrong + 1}: "${Buffer.from(got[wrong]?.body ?? '', 'base64')}"`,
      )
  }
  const strangers = dump.messages.filter(({ from }) => !(from in written))
  if (strangers.length > 0) fault(`${strangers.length} messages of somebody else`)
}

/** What both must have alike: everything but whose it is and how it came. */
function historyHash({ messages }: Dump): string {
  const sum = createHash('sha256')
  for (const { at, from, member, device, registration, k, kind, timeMs, body } of messages)
    sum.update(`${JSON.stringify([at, from, member, device, registration, k, kind, timeMs, body])}\n`)
  return sum.digest('hex')
}

/** Both devices against each other and against what was written. No faults: all of it holds. */
export function judge(dumps: readonly [Dump, Dump], written: Written): Verdict {
  const faults: string[] = []
  const chains = dumps.map((dump) => {
    const fault = (what: string): void =>
      void (faults.length < FAULTS_MAX && faults.push(`${dump.self.slice(0, 16)}: ${what}`))
    const chain = followChain(dump, fault)
    matchHeaders(dump, chain, fault)
    matchText(dump, written, fault)
    return chain
  })
  const heads = [chains[0]?.head ?? '', chains[1]?.head ?? ''] as const
  const histories = [historyHash(dumps[0]), historyHash(dumps[1])] as const
  if (dumps[0].conv !== dumps[1].conv) faults.push('the two speak of different conversations')
  if (heads[0] !== heads[1]) faults.push(`the heads differ: ${heads.join(' and ')}`)
  if (histories[0] !== histories[1]) faults.push('the histories differ')
  const newest = chains[0]?.headers.at(-1)
  return {
    faults,
    entries: dumps[0].headers.length,
    heads,
    histories,
    last: newest ? newest.epoch * SPAN + newest.n : 0,
  }
}
