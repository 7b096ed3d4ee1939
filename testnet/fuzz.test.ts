import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { ParleyError } from '#protocol'
import type { Decoder } from '#protocol/decoders'
import { keptInputs, keptNames } from './fuzz/corpus.ts'
import { fuzz } from './fuzz/fuzz.ts'
import { judge } from './fuzz/judge.ts'
import { BEGIN_MS, EXECUTIONS_EVERYDAY, HANG_MS } from './fuzz/limits.ts'
import { NOT_DECODERS } from './fuzz/not-decoders.ts'
import { allDecoders } from './fuzz/registry.ts'
import { hangWatch } from './fuzz/run.ts'
import { SHARED_NUMBERS } from './fuzz/task.ts'
import { watchdog } from './fuzz/watchdog.ts'

const ROOT = join(import.meta.dirname, '..')
const FOLDERS = ['protocol', 'crypto', 'node', 'relay', 'client', 'bootstrap']
const SUPPORT =
  /\.test\.ts$|(^|\/)(gen|testing)\/|(^|\/)(decoders?[\w-]*|fixtures|vector[\w-]*|test-[\w-]+|sign-in-player)\.ts$/
const EXPORTED =
  /^export (?:async )?(?:function\*?|const) ((?:decode|read|open|parse|unpack|receive|answer|load)[A-Z]\w*|ensure\w+Id)\b/gm
/** Of a planted fault. */
const JUDGED_MAX = 5
const SEED = 1

/** `folder/file.ts function` of what sounds like decoding. */
function soundsLikeDecoding(): string[] {
  return FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => `${folder}/${name}`)
      .filter((path) => path.endsWith('.ts') && !SUPPORT.test(path))
      .flatMap((path) =>
        [...readFileSync(join(ROOT, path), 'utf8').matchAll(EXPORTED)].map(([, name]) => `${path} ${name}`),
      ),
  )
}

const planted = (decode: Decoder['decode'], more: Partial<Decoder> = {}): Decoder => ({
  name: 'test/planted',
  covers: [],
  maxBytes: 1_024,
  examples: () => [Uint8Array.of(1, 2, 3)],
  decode,
  ...more,
})

describe('fuzzing', () => {
  const hold = new MessageChannel()
  let decoders: Decoder[] = []
  before(async () => {
    hold.port1.ref()
    decoders = await allDecoders()
  })
  after(() => hold.port1.close())

  it('the registry has every exported function that sounds like decoding, or says why not', () => {
    const covered = decoders.flatMap(({ name, covers }) => covers.map((what) => `${name.split('/')[0]}/${what}`))
    const found = soundsLikeDecoding()
    assert.ok(found.length > 60, 'the scan found them')
    const missing = found.filter((what) => !covered.includes(what) && !NOT_DECODERS.has(what))
    assert.deepEqual(missing, [], 'add a decoder to the decoders.ts of the folder, or a reason to not-decoders.ts')
    assert.deepEqual(
      [...NOT_DECODERS.keys()].filter((what) => !found.includes(what) || covered.includes(what)),
      [],
      'reasons for what is not there, or is a decoder after all',
    )
  })

  it('names and corpus folders fit together', () => {
    const names = decoders.map(({ name }) => name.replaceAll('/', '.'))
    assert.equal(new Set(names).size, names.length, 'a name twice')
    assert.deepEqual(
      keptNames().filter((name) => !names.includes(name)),
      [],
    )
  })

  it(`what failed before, then ${EXECUTIONS_EVERYDAY} inputs of each decoder`, async () => {
    using watching = watchdog()
    for (const decoder of decoders) {
      const about = (bytes: Uint8Array): void => watching.begin(decoder.name, bytes)
      const { faults } = await fuzz(decoder, { seed: SEED, executions: EXECUTIONS_EVERYDAY, about })
      watching.rest()
      for (const { what, bytes } of faults)
        assert.fail(
          `${decoder.name}: ${what}\ninput: ${Buffer.from(bytes).toString('hex').slice(0, 2_000)}\nseed ${SEED}`,
        )
    }
  })

  it('a hang is noticed in what failed before, in examples and in the first input as well', async () => {
    const told: (readonly [string, number])[] = []
    const decoded: string[] = []
    const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
    const { name } = decoders.find((it) => keptInputs(it).length > 0)!
    const kept = keptInputs({ name }).map(({ bytes }) => hex(bytes))
    const decoder = planted(
      (bytes) => {
        assert.equal(hex(bytes), told.at(-1)![0], 'it was told what is under way')
        decoded.push(hex(bytes))
      },
      { name, refusedExamples: () => [Uint8Array.of(9)] },
    )
    await fuzz(decoder, { seed: SEED, executions: 1, about: (bytes, done) => told.push([hex(bytes), done]) })
    assert.deepEqual(
      told.slice(0, -1),
      [...kept, '010203', '09'].map((it) => [it, 0]),
    )
    assert.deepEqual(
      decoded,
      told.map(([it]) => it),
    )
    const numbers = new Int32Array(SHARED_NUMBERS)
    const hang = hangWatch(numbers, 0)
    assert.equal(hang(BEGIN_MS), undefined, 'programs are being loaded')
    assert.match(hang(BEGIN_MS + 1)!, /^does not begin/)
    numbers[2] = 1
    assert.equal(hang(BEGIN_MS + 2), undefined)
    assert.match(hang(BEGIN_MS + 3 + HANG_MS)!, /^does not end/, 'though none that counts is done')
  })

  it('a hang in the thread that decodes ends the process, which says where', async () => {
    const module = new URL('fuzz/watchdog.ts', import.meta.url).href
    const hanging = `
      import { watchdog } from '${module}'
      const watching = watchdog(100)
      watching.begin('test/fine', Uint8Array.of(1))
      watching.rest()
      await new Promise((resolve) => setTimeout(resolve, 300))
      watching.begin('test/hangs', Uint8Array.of(0xab, 0xcd))
      for (;;);`
    const ended = promisify(execFile)(process.execPath, ['--input-type=module', '--eval', hanging])
    await assert.rejects(ended, { signal: 'SIGKILL', stderr: /test\/hangs, input abcd: does not end\n$/ })
  })

  it('refuses what it does not know in one line', async () => {
    const refused = promisify(execFile)(process.execPath, [join(import.meta.dirname, 'fuzz.ts'), '--bogus'])
    const stderr = "fuzz: Unknown option '--bogus'. See npm run fuzz -- --help\n"
    await assert.rejects(refused, { code: 2, stdout: '', stderr })
  })

  it('a planted fault of each kind is found', async () => {
    const refuse = (): never => {
      throw new ParleyError('malformed', 'no')
    }
    const busy = (): void => {
      const used = (): number => process.threadCpuUsage().user
      const until = used() + 80_000
      while (used() < until);
    }
    const faults: readonly (readonly [string, Decoder])[] = [
      ['throws TypeError', planted(() => (undefined as unknown as { x: number }).x)],
      ['throws RangeError', planted(async () => Promise.reject(new RangeError('no')))],
      ['takes', planted(busy)],
      ['makes', planted(() => Array.from({ length: 200_000 }, (_, i) => ({ i })).length)],
      ['the value holds', planted(() => 'x'.repeat(10_000))],
      ['what was decoded and', planted((bytes) => bytes.length, { encode: () => new Uint8Array(9) })],
      [
        'what was decoded does not survive',
        planted((bytes) => (bytes.length > 8 ? refuse() : 1), { encode: () => new Uint8Array(9) }),
      ],
      ['its twin differs', planted(() => 1, { twin: refuse })],
      ['its twin decodes', planted(() => 1, { twin: () => 2 })],
    ]
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    // An even number of bytes: every other input is a Buffer, whose views are no equals of plain arrays.
    const input = Uint8Array.of(1, 2, 3, 4)
    for (const [what, decoder] of faults) {
      let fault: string | undefined
      // What others left must not be collected while it is measured what this one makes: then it says nothing about memory.
      for (let tries = 0; tries < JUDGED_MAX && fault === undefined; tries++) {
        collect()
        fault = (await judge(decoder, input)).fault
      }
      assert.ok(fault?.startsWith(what), `${what}: ${fault}`)
    }
    assert.equal((await judge(planted(refuse), input)).fault, undefined)
    assert.equal(
      (
        await judge(
          planted((bytes) => bytes.length, { encode: (length) => new Uint8Array(length as number) }),
          input,
        )
      ).fault,
      undefined,
    )
  })

  it('the same seed makes the same inputs', async () => {
    const inputs = async (seed: number): Promise<string[]> => {
      const seen: string[] = []
      await fuzz(
        planted((bytes) => void seen.push(Buffer.from(bytes).toString('hex'))),
        { seed, executions: 50 },
      )
      return seen
    }
    assert.deepEqual(await inputs(3), await inputs(3))
    assert.notDeepEqual(await inputs(3), await inputs(4))
  })

  it('a bug behind several conditions is found by following outcomes', async () => {
    const guarded = planted(
      (bytes) => {
        if (bytes[0] !== 0x7f) throw new ParleyError('malformed', 'first')
        if (bytes[1] !== 0x80) throw new ParleyError('malformed', 'second')
        throw new TypeError('planted')
      },
      { examples: () => [], refusedExamples: () => [Uint8Array.of(1, 2, 3, 4)] },
    )
    const { faults } = await fuzz(guarded, { seed: SEED, executions: 5_000 })
    assert.equal(faults.length, 1)
    assert.deepEqual(faults[0]!.bytes, Uint8Array.of(0x7f, 0x80), 'and made small')
  })
})
