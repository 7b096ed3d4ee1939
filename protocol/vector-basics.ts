// Vectors of ids, genesis and entries.
import { bech32, bech32m } from '@scure/base'
import {
  chainHash,
  type EntryHeader,
  type EntryPart,
  epochHash,
  HEADER_BYTES,
  KIND_CONTENT,
  KIND_SKIP,
  writeEntry,
} from './entry.ts'
import { type Cast, filled, NOW_MS } from './fixtures.ts'
import { directConvId, directGenesis } from './genesis.ts'
import { convIdBytes, convIdOf, convIdOfGenesis, regionIdBytes, userIdBytes } from './ids.ts'
import { ENTRY_MAX_BYTES, PARTS_MAX } from './limits.ts'
import { epochOf, nOf, positionOf } from './position.ts'
import type { RefusalCode } from './refusals.ts'
import { hex, type VectorCase, type VectorFile } from './vector-file.ts'

export function idVectors(cast: Cast): VectorFile {
  const { ana, ben, north } = cast
  const conv = directConvId(ana.id, ben.id)
  const of = (kind: string, text: string, error: RefusalCode) => ({ name: `${kind}: ${error}`, kind, text, error })
  const bad = (name: string, kind: string, text: string): VectorCase => ({ ...of(kind, text, 'bad_id'), name })
  const words = bech32m.toWords(userIdBytes(ana.id))
  return {
    about: 'Ids: SHA-256 of context ‖ 0x00 ‖ preimage (a root key or a genesis), as bytes and as text (bech32m).',
    cases: [
      {
        name: 'a user',
        kind: 'user',
        preimage: hex(ana.root.publicKey),
        bytes: hex(userIdBytes(ana.id)),
        text: ana.id,
      },
      {
        name: 'a region',
        kind: 'region',
        preimage: hex(north.root.publicKey),
        bytes: hex(regionIdBytes(north.id)),
        text: north.id,
      },
      {
        name: 'a conversation',
        kind: 'conversation',
        preimage: hex(directGenesis(ana.id, ben.id)),
        bytes: hex(convIdBytes(conv)),
        text: conv,
      },
      { name: 'as people type it', kind: 'user', bytes: hex(userIdBytes(ana.id)), text: `  ${ana.id.toUpperCase()}\n` },
      bad(
        'one letter wrong',
        'user',
        ana.id.replace(/.$/, (last) => (last === 'q' ? 'p' : 'q')),
      ),
      bad('two letters swapped', 'user', ana.id.replace(/(.)(.)(.{8})$/, '$2$1$3')),
      bad('one letter short', 'user', ana.id.slice(0, -1)),
      bad('a region where a user is meant', 'user', north.id),
      bad('a user where a conversation is meant', 'conversation', ana.id),
      bad('the older checksum, bech32', 'user', bech32.encode('parley', words, false)),
      bad('31 bytes', 'user', bech32m.encode('parley', bech32m.toWords(filled(31, 1)), false)),
      bad('33 bytes', 'user', bech32m.encode('parley', bech32m.toWords(filled(33, 1)), false)),
      bad('nothing', 'user', ''),
      bad('a long text', 'user', 'parley1'.padEnd(5_000, 'q')),
    ],
  }
}

export function genesisVectors(cast: Cast): VectorFile {
  const { ana, ben } = cast
  const direct = directGenesis(ana.id, ben.id)
  const swapped = new Uint8Array([1, ...direct.subarray(33), ...direct.subarray(1, 33)])
  const group = new Uint8Array([2, ...userIdBytes(ana.id), ...filled(32, 7), 0, 0, 1, 0xa3, 0x18, 0x5c, 0x50, 0])
  const valid = (name: string, bytes: Uint8Array): VectorCase => ({
    name,
    bytes: hex(bytes),
    convId: convIdOfGenesis(bytes),
  })
  const bad = (name: string, bytes: Uint8Array): VectorCase => ({ name, bytes: hex(bytes), error: 'malformed' })
  const late = group.slice()
  late.set(filled(8, 0xff), 65)
  return {
    about: 'Genesis: what a convId is the hash of.',
    cases: [
      valid('direct', direct),
      valid('group', group),
      bad('direct, not ascending', swapped),
      bad('direct, with oneself', new Uint8Array([1, ...filled(64, 3)])),
      bad('direct, a byte short', direct.subarray(0, 64)),
      bad('direct, a byte long', new Uint8Array([...direct, 0])),
      bad('group, a byte short', group.subarray(0, 72)),
      bad('group, a time beyond 2^53', late),
      bad('another kind', new Uint8Array([3, ...direct.subarray(1)])),
      bad('empty', new Uint8Array(0)),
    ],
  }
}

export const HEADER: EntryHeader = {
  kind: KIND_CONTENT,
  at: positionOf(1, 1),
  member: 0,
  device: 1,
  registrationEpoch: 1,
  registrationVersion: 1,
  k: 1,
  tag: filled(8, 0xab),
  membershipVersion: 0,
  timeMs: NOW_MS,
}

const PARTS: readonly EntryPart[] = [
  { member: 0, device: 2, body: filled(3, 0x11) },
  { member: 1, device: 1, body: filled(5, 0x22) },
]

/** `bytes` with `value` at `at`. */
function patched(bytes: Uint8Array, at: number, ...value: readonly number[]): Uint8Array {
  const out = bytes.slice()
  out.set(value, at)
  return out
}

function entryCase(header: EntryHeader, parts: readonly EntryPart[], name: string): VectorCase {
  const { at, tag, ...rest } = header
  return {
    name,
    bytes: hex(writeEntry(header, parts)),
    header: { ...rest, epoch: epochOf(at), n: nOf(at), tag: hex(tag) },
    parts: parts.map((part) => ({ member: part.member, device: part.device, body: hex(part.body) })),
  }
}

function invalidEntries(): VectorCase[] {
  const good = writeEntry(HEADER, PARTS)
  const first = HEADER_BYTES + 2
  const bad = (name: string, bytes: Uint8Array, error: RefusalCode = 'malformed'): VectorCase => ({
    name,
    bytes: hex(bytes),
    error,
  })
  const header = hex(writeEntry(HEADER, []).subarray(0, HEADER_BYTES))
  return [
    bad('empty', new Uint8Array(0)),
    bad('a header without a count', good.subarray(0, HEADER_BYTES)),
    bad('cut off in a part', good.subarray(0, -1)),
    bad('a byte too many', new Uint8Array([...good, 0])),
    bad('version 2', patched(good, 0, 2)),
    bad('kind 0', patched(good, 1, 0)),
    bad('kind 6', patched(good, 1, 6)),
    bad('epoch 0', patched(good, 2, 0, 0, 0, 0)),
    bad('an epoch beyond the limit', patched(good, 2, 0, 0x20, 0, 0)),
    bad('n 0', patched(good, 6, 0, 0, 0, 0)),
    bad('device 0', patched(good, 14, 0)),
    bad('device 128', patched(good, 14, 128)),
    bad('registration epoch 0', patched(good, 15, 0, 0, 0, 0)),
    bad('k 0', patched(good, 23, 0, 0, 0, 0)),
    bad('a time beyond 2^53', patched(good, 39, 0, 0x20, 0, 0)),
    bad('more parts than there are', patched(good, HEADER_BYTES, 0, 3)),
    bad('fewer parts than there are', patched(good, HEADER_BYTES, 0, 1)),
    bad('a part for device 128', patched(good, first + 4, 128)),
    bad('a part whose length reaches beyond the end', patched(good, first + 5, 0, 0, 0, 200)),
    bad(
      'a part without ciphertext',
      patched(writeEntry(HEADER, [{ member: 1, device: 1, body: filled(1, 1) }]), first + 5, 0, 0, 0, 0),
    ),
    bad('a part over the limit', patched(good, first + 5, 0xff, 0xff, 0xff, 0xff), 'too_large'),
    bad('a skip with parts', patched(good, 1, KIND_SKIP)),
    {
      name: 'too many parts',
      bytes: [
        [header, 1],
        ['ffff', 1],
      ],
      error: 'too_many',
    },
    {
      name: 'over the limit',
      bytes: [
        [header, 1],
        ['0004', 1],
        ['00', ENTRY_MAX_BYTES],
      ],
      error: 'too_large',
    },
    {
      name: 'one part over the count',
      bytes: [
        [header, 1],
        [(PARTS_MAX + 1).toString(16).padStart(4, '0'), 1],
        ['00000001010000000111', PARTS_MAX + 1],
      ],
      error: 'too_many',
    },
  ]
}

export function entryVectors(cast: Cast): VectorFile {
  const convId = directConvId(cast.ana.id, cast.ben.id)
  const chain: VectorCase[] = []
  let previous = convIdBytes(convId)
  for (let n = 1; n <= 3; n++) {
    const entry = writeEntry({ ...HEADER, at: positionOf(1, n), k: n }, n === 2 ? [] : PARTS)
    const next = chainHash(previous, entry)
    chain.push({ name: `chain: entry 1.${n}`, bytes: hex(entry), previous: hex(previous), hash: hex(next) })
    previous = next
  }
  const register = filled(40, 0x77)
  return {
    about: 'Entries, and the hash chain over their headers.',
    convId: hex(convIdBytes(convIdOf(convIdBytes(convId)))),
    cases: [
      entryCase(HEADER, PARTS, 'content with two parts'),
      entryCase(
        { ...HEADER, kind: KIND_SKIP, k: 2 ** 32 - 1, at: positionOf(2 ** 21 - 1, 2 ** 32 - 1) },
        [],
        'a skip, every number at its limit',
      ),
      entryCase(
        { ...HEADER, member: 999, device: 127, registrationEpoch: 3, registrationVersion: 9, membershipVersion: 12 },
        [{ member: 0, device: 0, body: filled(2, 1) }],
        'a part for all',
      ),
      ...chain,
      {
        name: 'chain: what the next epoch starts from',
        previous: hex(previous),
        register: hex(register),
        hash: hex(epochHash(previous, register)),
      },
      ...invalidEntries(),
    ],
  }
}
