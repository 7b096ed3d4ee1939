// Every decoder of this folder, for the fuzzer: what a home or an entry service answers over HTTP, and the readable file of
// a profile, which may come from a backup. Frames are decoded by #protocol; rows lie in the encrypted database.
import { create, toBinary } from '@bufbuild/protobuf'
import { HomeRecordSchema, PrekeyBundleSchema, SignedRecordSchema, SimulatedClock, userIdBytes } from '#protocol'
import {
  bytesOfText,
  type Decoder,
  homeRecord,
  JSON_MEMORY_FACTOR,
  makeCast,
  manifestRecord,
  NOW_MS,
  regionRecord,
} from '#protocol/decoders'
import { parseParameters } from './db/profile-file.ts'
import { homeDirectory } from './home-directory.ts'
import { HTTP_ANSWER_MAX_BYTES, PARAMETERS_MAX_BYTES } from './limits.ts'
import { listRegions, regionAt } from './regions.ts'
import type { OpenSession } from './session.ts'

const CAST = makeCast(13)
const clock = new SimulatedClock(NOW_MS)
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
const json = (value: unknown): Uint8Array => bytesOfText(JSON.stringify(value))
const marked = (mark: number, bytes: Uint8Array): Uint8Array => new Uint8Array(Buffer.concat([Buffer.of(mark), bytes]))
const STATUSES = [200, 400, 404, 429, 500, 503]

/** What an answer is for, by the first byte of the input; above that its status, 200 being the most frequent. */
function answerDecoder(): Decoder {
  const { ana } = CAST
  const open = { origin: 'http://home.example', token: () => new Uint8Array(64) } as unknown as OpenSession
  const directory = homeDirectory(() => open, clock)
  const record = base64(toBinary(SignedRecordSchema, regionRecord(CAST.north)))
  const home = base64(toBinary(HomeRecordSchema, homeRecord(ana)))
  const manifest = base64(toBinary(SignedRecordSchema, manifestRecord(ana)))
  const bundle = toBinary(PrekeyBundleSchema, create(PrekeyBundleSchema, { userId: userIdBytes(ana.id), device: 1 }))
  const error = { code: 'overloaded', message: 'later', retry: true, retryAfterMs: 500, facts: { limit: '3' } }
  const questions: readonly (readonly [answer: unknown, ask: () => Promise<unknown>])[] = [
    [{ regions: [record, 'AA==', 7] }, () => listRegions('http://entry.example', clock)],
    [{ record }, () => regionAt('http://home.example', clock)],
    [{ homeRecord: home, manifest }, () => directory.find(ana.id)],
    [{ bundle: base64(bundle) }, () => directory.bundle(ana.id, 1)],
    [{ oneTime: 1, oneTimeKyber: 2 }, () => directory.prekeyCounts()],
  ]
  const count = questions.length
  return {
    name: 'client/answers',
    covers: ['http.ts fromBase64', 'regions.ts readRegion'],
    maxBytes: HTTP_ANSWER_MAX_BYTES,
    memoryFactor: JSON_MEMORY_FACTOR,
    examples: () => questions.map(([answer], i) => marked(i, json(answer))),
    refusedExamples: () => STATUSES.map((_, i) => marked(i * count, json({ error }))),
    async decode(bytes) {
      const first = bytes[0] ?? 0
      const status = STATUSES[Math.floor(first / count)] ?? 200
      // A real Response copies what it is made of, and those copies would count as the client's.
      const response = { status, ok: status < 400, body: [bytes.subarray(1)] }
      globalThis.fetch = async () => response as unknown as Response
      await questions[first % count]![1]()
      return status
    },
  }
}

const parametersDecoder: Decoder = {
  name: 'client/parseParameters',
  covers: ['db/profile-file.ts parseParameters'],
  maxBytes: PARAMETERS_MAX_BYTES,
  examples: () => [json({ format: 1, kdf: 'argon2id', nonce: 'AAAA', memoryKib: 65_536, passes: 3, lanes: 4 })],
  decode: (bytes) => parseParameters(bytes, 'a profile').passes,
}

export function decoders(): Decoder[] {
  return [answerDecoder(), parametersDecoder]
}
