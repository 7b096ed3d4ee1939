import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { limits, systemRandom } from '#protocol'
import { createAccount, recoverAccount } from './account.ts'
import { newRecoveryPhrase, rootKeyOfPhrase } from './recovery.ts'
import { openSessions } from './sessions.ts'
import { memoryKeyStorage, stagedKeyStorage } from './storage.ts'
import {
  acquainted,
  clock,
  introduce,
  newPerson,
  north,
  outcome,
  type Person,
  personOf,
  refused,
} from './test-people.ts'

const PREKEY_MESSAGE = 3
const NORMAL_MESSAGE = 2

type Letter = { readonly from: number; readonly text: string; readonly ciphertext: Uint8Array; read: boolean }
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const text = (plaintext: Uint8Array): string => Buffer.from(plaintext).toString()

// One schedule of what two devices can live through. Whatever the order, each letter is read once, with its own text,
// and a second time it is refused as replayed.
class Schedule {
  readonly people: readonly [Person, Person]
  readonly letters: Letter[] = []

  constructor(people: readonly [Person, Person]) {
    this.people = people
  }

  async send(from: number, crash: boolean): Promise<void> {
    const writer = this.people[from]!
    const reader = this.people[1 - from]!
    if (!writer.sessions.hasSession(reader.peer)) await introduce(writer, reader)
    const said = `${from}: ${this.letters.length}`
    if (crash) {
      await writer.sessions.encrypt(reader.peer, bytes(said))
      writer.staged.reset()
    }
    const ciphertext = await writer.sessions.encrypt(reader.peer, bytes(said))
    writer.commit()
    this.letters.push({ from, text: said, ciphertext, read: false })
  }

  async deliver(letter: Letter, crash: boolean): Promise<void> {
    const reader = this.people[1 - letter.from]!
    const writer = this.people[letter.from]!
    if (crash && !letter.read) {
      assert.equal(text(await reader.sessions.decrypt(writer.peer, letter.ciphertext)), letter.text)
      reader.staged.reset()
    }
    const got = await outcome(reader.sessions.decrypt(writer.peer, letter.ciphertext))
    if (letter.read) assert.deepEqual(got, { code: 'replayed' })
    else assert.equal('value' in got && text(got.value), letter.text)
    if (letter.read) assert.deepEqual(reader.staged.changes(), [])
    reader.commit()
    letter.read = true
  }

  async archive(who: number): Promise<void> {
    await this.people[who]!.sessions.archive(this.people[1 - who]!.peer)
    this.people[who]!.commit()
  }
}

test('any order of sending, reading, replaying, crashing and setting up anew reads every letter exactly once', async () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('send' as const), who: fc.nat(1), crash: fc.boolean() }) },
    { weight: 8, arbitrary: fc.record({ do: fc.constant('deliver' as const), which: fc.nat(), crash: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('archive' as const), who: fc.nat(1) }) },
  )
  const reached = { prekey: 0, normal: 0, replayed: 0, outOfOrder: 0 }
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 45 }), async (steps) => {
      const schedule = new Schedule([newPerson(), newPerson()])
      for (const next of steps) {
        if (next.do === 'send') await schedule.send(next.who, next.crash)
        else if (next.do === 'archive') await schedule.archive(next.who)
        else if (schedule.letters.length > 0) {
          const index = next.which % schedule.letters.length
          const letter = schedule.letters[index]!
          if (letter.read) reached.replayed++
          else if (schedule.letters.slice(0, index).some((one) => !one.read && one.from === letter.from))
            reached.outOfOrder++
          reached[letter.ciphertext[0] === PREKEY_MESSAGE ? 'prekey' : 'normal']++
          await schedule.deliver(letter, next.crash)
        }
      }
      for (const letter of schedule.letters) if (!letter.read) await schedule.deliver(letter, false)
    }),
    { numRuns: 40 },
  )
  for (const [what, times] of Object.entries(reached)) assert.ok(times > 10, `${what} was reached ${times} times`)
})

test('the first messages set the session up, later ones are small', async () => {
  const ana = newPerson()
  const ben = newPerson()
  await introduce(ana, ben)
  const first = await ana.sessions.encrypt(ben.peer, bytes('one'))
  const second = await ana.sessions.encrypt(ben.peer, bytes('two'))
  assert.deepEqual([first[0], second[0]], [PREKEY_MESSAGE, PREKEY_MESSAGE])
  assert.equal(text(await ben.sessions.decrypt(ana.peer, second)), 'two')
  assert.equal(text(await ben.sessions.decrypt(ana.peer, first)), 'one')
  const answer = await ben.sessions.encrypt(ana.peer, bytes('three'))
  assert.equal(answer[0], NORMAL_MESSAGE)
  assert.equal(text(await ana.sessions.decrypt(ben.peer, answer)), 'three')
  const third = await ana.sessions.encrypt(ben.peer, bytes('four'))
  assert.equal(third[0], NORMAL_MESSAGE)
  assert.ok(third.length < first.length / 4)
})

test('a changed ciphertext is refused without a trace, or was not changed where it counts', async () => {
  const fresh = [newPerson(), newPerson()] as const
  await introduce(...fresh)
  for (const [ana, ben] of [fresh, await acquainted()] as const) {
    const ciphertext = await ana.sessions.encrypt(ben.peer, bytes('the same'))
    const codes = new Set<string>()
    for (let at = 0; at < ciphertext.length; at += ciphertext.length > 1_000 ? 5 : 1) {
      const changed = ciphertext.slice()
      changed[at]! ^= 1 << (at % 8)
      const got = await outcome(ben.sessions.decrypt(ana.peer, changed))
      if ('code' in got) {
        codes.add(got.code)
        assert.deepEqual(ben.staged.changes(), [], `byte ${at} left something behind`)
      } else assert.equal(text(got.value), 'the same', `byte ${at}`)
      ben.staged.reset()
    }
    assert.ok(codes.has('malformed') && codes.has('undecryptable'), [...codes].join())
    assert.equal(text(await ben.sessions.decrypt(ana.peer, ciphertext)), 'the same')
  }
})

test('any bytes at all are refused with a typed error', async () => {
  const [ana, ben] = await acquainted()
  const noise = fc.tuple(fc.constantFrom(0, 2, 3, 7, 8, 255), fc.uint8Array({ maxLength: 300 }))
  await fc.assert(
    fc.asyncProperty(noise, async ([type, rest]) => {
      const got = await outcome(ben.sessions.decrypt(ana.peer, Uint8Array.of(type, ...rest)))
      assert.ok('code' in got && ['malformed', 'undecryptable', 'unsigned_device'].includes(got.code))
      assert.deepEqual(ben.staged.changes(), [])
    }),
    { numRuns: 150 },
  )
  await assert.rejects(ben.sessions.decrypt(ana.peer, new Uint8Array(0)), refused('malformed'))
  await assert.rejects(ben.sessions.decrypt(ana.peer, new Uint8Array(limits.PART_MAX_BYTES + 1)), refused('too_large'))
  await assert.rejects(ana.sessions.encrypt(ben.peer, new Uint8Array(limits.PART_MAX_BYTES)), refused('too_large'))
  assert.deepEqual(ana.staged.changes(), [])
})

test('500 messages arrive in the opposite order', async () => {
  const [ana, ben] = await acquainted()
  const sent: Uint8Array[] = []
  for (let i = 0; i < 500; i++) sent.push(await ana.sessions.encrypt(ben.peer, bytes(`${i}`)))
  for (let i = 499; i >= 0; i--) assert.equal(text(await ben.sessions.decrypt(ana.peer, sent[i]!)), `${i}`)
})

test('an identity that is not the one of the manifest is refused, and takes no prekey with it', async () => {
  const [ana, ben, eve] = [newPerson(), newPerson(), newPerson()]
  await introduce(eve, ben)
  const forged = await eve.sessions.encrypt(ben.peer, bytes('I am Ana'))
  await assert.rejects(ben.sessions.decrypt(ana.peer, forged), refused('unsigned_device'))
  assert.deepEqual(ben.staged.changes(), [])
  assert.equal(ben.sessions.hasSession(ana.peer), false)
  assert.equal(text(await ben.sessions.decrypt(eve.peer, forged)), 'I am Ana')
  ben.commit()

  // The same over an existing session with Ana: neither a set-up of Eve's nor a message of her session passes.
  await introduce(ana, ben)
  await ben.sessions.decrypt(ana.peer, await ana.sessions.encrypt(ben.peer, bytes('hello')))
  ben.commit()
  await eve.sessions.decrypt(ben.peer, await ben.sessions.encrypt(eve.peer, bytes('who?')))
  const normal = await eve.sessions.encrypt(ben.peer, bytes('still Ana'))
  ben.commit()
  await assert.rejects(ben.sessions.decrypt(ana.peer, forged), refused('unsigned_device'))
  await assert.rejects(ben.sessions.decrypt(ana.peer, normal), refused('undecryptable'))
  assert.deepEqual(ben.staged.changes(), [])
})

test('a bundle is refused unless it is of this device, this registration, and signed by its identity', async () => {
  const [ana, ben, eve] = [newPerson(), newPerson(10), newPerson(10)]
  const good = ben.home.bundle()
  const other = eve.home.bundle()
  const cases = [
    [{ ...good, userId: other.userId }, 'unknown_device'],
    [{ ...good, device: 2 }, 'unknown_device'],
    [{ ...good, registrationVersion: 2 }, 'stale_manifest'],
    [{ ...good, registrationEpoch: 2 }, 'stale_manifest'],
    [{ ...good, signed: undefined }, 'malformed'],
    [{ ...good, kyber: undefined }, 'malformed'],
    [{ ...good, oneTime: { ...good.oneTime!, key: new Uint8Array(7) } }, 'malformed'],
    [{ ...good, kyber: { ...good.kyber!, key: good.kyber!.key.slice(1) } }, 'malformed'],
    [{ ...good, signed: other.signed }, 'bad_signature'],
    [{ ...good, kyber: other.kyber }, 'bad_signature'],
    [{ ...good, signed: { ...good.signed!, signature: new Uint8Array(64) } }, 'bad_signature'],
    [{ ...good, kyber: { ...good.kyber!, signature: new Uint8Array(0) } }, 'bad_signature'],
  ] as const
  for (const [bundle, code] of cases) {
    await assert.rejects(ana.sessions.setUp(ben.peer, bundle as typeof good), refused(code), code)
    assert.deepEqual(ana.staged.changes(), [])
  }
  await assert.rejects(ana.sessions.encrypt(ben.peer, bytes('x')), refused('no_session'))
  await ana.sessions.setUp(ben.peer, good)
  assert.equal(ana.sessions.hasSession(ben.peer), true)
})

test('one-time prekeys are gone once used; a set-up cannot be replayed, whichever key it used', async () => {
  const ben = newPerson(1)
  for (const expected of ['undecryptable', 'replayed'] as const) {
    const ana = newPerson()
    const bundle = ben.home.bundle()
    assert.equal(bundle.kyberIsLastResort, expected === 'replayed')
    assert.equal(bundle.oneTime === undefined, expected === 'replayed')
    await ana.sessions.setUp(ben.peer, bundle)
    const hello = await ana.sessions.encrypt(ben.peer, bytes('hello'))
    assert.equal(text(await ben.sessions.decrypt(ana.peer, hello)), 'hello')
    ben.commit()
    if (bundle.oneTime) {
      assert.equal(ben.base.get('prekey', `${bundle.oneTime.id}`), undefined)
      assert.equal(ben.base.get('kyber', `${bundle.kyber!.id}`), undefined)
    } else assert.ok(ben.base.get('last-resort', `${bundle.kyber!.id}`))
    ben.sessions.forget(ana.peer)
    ben.commit()
    await assert.rejects(ben.sessions.decrypt(ana.peer, hello), refused(expected))
    assert.deepEqual(ben.staged.changes(), [])
  }
})

test('the last-resort key serves any number of people', async () => {
  const ben = newPerson(0)
  for (let i = 0; i < 5; i++) {
    const ana = newPerson(0)
    await introduce(ana, ben)
    assert.equal(text(await ben.sessions.decrypt(ana.peer, await ana.sessions.encrypt(ben.peer, bytes('hi')))), 'hi')
    assert.equal(text(await ana.sessions.decrypt(ben.peer, await ben.sessions.encrypt(ana.peer, bytes('ho')))), 'ho')
  }
})

test('a device number registered anew has no session; what the old device wrote can still be read', async () => {
  const rootKey = rootKeyOfPhrase(newRecoveryPhrase(systemRandom))
  const home = { homeRegion: north, fallbackRegions: [] }
  const ben = personOf(createAccount(rootKey, home, systemRandom), 3)
  const ana = newPerson()
  await introduce(ana, ben)
  await ben.sessions.decrypt(ana.peer, await ana.sessions.encrypt(ben.peer, bytes('hello')))
  const late = await ben.sessions.encrypt(ana.peer, bytes('sent before the loss'))

  const benAgain = personOf(recoverAccount(rootKey, ben.manifestRead, home, systemRandom), 3)
  assert.equal(benAgain.peer.userId, ben.peer.userId)
  assert.equal(ana.sessions.hasSession(benAgain.peer), false)
  await assert.rejects(ana.sessions.encrypt(benAgain.peer, bytes('x')), refused('no_session'))
  await assert.rejects(ana.sessions.decrypt(benAgain.peer, late), refused('no_session'))
  await assert.rejects(ana.sessions.setUp(benAgain.peer, ben.home.bundle()), refused('stale_manifest'))
  await introduce(ana, benAgain)
  assert.equal(
    text(await benAgain.sessions.decrypt(ana.peer, await ana.sessions.encrypt(benAgain.peer, bytes('again')))),
    'again',
  )
  assert.equal(text(await ana.sessions.decrypt(ben.peer, late)), 'sent before the loss')
})

test('operations asked for at once run one after another', async () => {
  const [ana, ben] = await acquainted()
  const texts = Array.from({ length: 30 }, (_, i) => `${i}`)
  const sent = await Promise.all(texts.map((one) => ana.sessions.encrypt(ben.peer, bytes(one))))
  // One by one: had two of them started from the same state, the second would be taken for a replay.
  for (const [i, one] of sent.entries()) assert.equal(text(await ben.sessions.decrypt(ana.peer, one)), `${i}`)
  const back: Uint8Array[] = []
  for (const one of texts) back.push(await ben.sessions.encrypt(ana.peer, bytes(one)))
  const read = await Promise.all(back.map((one) => ana.sessions.decrypt(ben.peer, one)))
  assert.deepEqual(read.map(text), texts)
  for (const one of back) await assert.rejects(ana.sessions.decrypt(ben.peer, one), refused('replayed'))
})

test('encrypting for several devices is for all of them or for none', async () => {
  const [ana, ben] = await acquainted()
  const cem = newPerson()
  const none = await ana.sessions.encryptRun([ben.peer, cem.peer], [bytes('x')])
  assert.deepEqual([none.sealed, none.error?.code], [[], 'no_session'])
  assert.deepEqual(ana.staged.changes(), [])
  await introduce(ana, cem)
  const { sealed } = await ana.sessions.encryptRun([ben.peer, cem.peer], [bytes('to both'), bytes('again')])
  for (const [i, person] of [ben, cem].entries()) {
    const read = [sealed[0]![i]!, sealed[1]![i]!].map((it) => person.sessions.decrypt(ana.peer, it))
    assert.deepEqual((await Promise.all(read)).map(text), ['to both', 'again'])
  }
})

test('a run ends where a plaintext cannot be encrypted: what came before stands, and no step is burnt', async () => {
  const [ana, ben] = await acquainted()
  const large = new Uint8Array(limits.PART_MAX_BYTES)
  const run = await ana.sessions.encryptRun([ben.peer, ben.peer], [bytes('1'), large, bytes('3')])
  assert.equal(run.error?.code, 'too_large')
  const after = await ana.sessions.encrypt(ben.peer, bytes('4'))
  const read: string[] = []
  for (const one of [...run.sealed.flat(), after]) read.push(text(await ben.sessions.decrypt(ana.peer, one)))
  assert.deepEqual(read, ['1', '1', '4'])
})

test('an archived session needs a new set-up to write, and still reads', async () => {
  const [ana, ben] = await acquainted()
  const underway = await ben.sessions.encrypt(ana.peer, bytes('under way'))
  await ana.sessions.archive(ben.peer)
  assert.equal(ana.sessions.hasSession(ben.peer), false)
  await assert.rejects(ana.sessions.encrypt(ben.peer, bytes('x')), refused('no_session'))
  assert.equal(text(await ana.sessions.decrypt(ben.peer, underway)), 'under way')
  await ana.sessions.archive(newPerson().peer)
})

test('addresses that cannot be are refused', async () => {
  const [ana, ben] = await acquainted()
  await assert.rejects(ana.sessions.encrypt(ana.peer, bytes('x')), refused('bad_argument'))
  await assert.rejects(ana.sessions.encrypt({ ...ben.peer, device: 128 }, bytes('x')), refused('unknown_device'))
  await assert.rejects(ana.sessions.encrypt({ ...ben.peer, device: 0 }, bytes('x')), refused('unknown_device'))
  await assert.rejects(
    ana.sessions.encrypt({ ...ben.peer, identityKey: new Uint8Array(33) }, bytes('x')),
    refused('malformed'),
  )
})

test('a storage that fails shows as itself, not as a message that cannot be decrypted', async () => {
  const [ana, ben] = [newPerson(), newPerson()]
  await introduce(ana, ben)
  const hello = await ana.sessions.encrypt(ben.peer, bytes('hello'))
  for (const failing of ['session', 'prekey', 'signed', 'kyber']) {
    const { storage, changes } = stagedKeyStorage({
      get(table, key) {
        if (table === failing) throw new RangeError('disk')
        return ben.base.get(table, key)
      },
      unpacked: () => undefined,
      set: () => assert.fail('written'),
    })
    const sessions = openSessions({ storage, device: ben.device, clock })
    await assert.rejects(sessions.decrypt(ana.peer, hello), RangeError, failing)
    assert.deepEqual(changes(), [])
  }
  const empty = openSessions({ storage: memoryKeyStorage(), device: ben.device, clock })
  await assert.rejects(empty.decrypt(ana.peer, hello), refused('undecryptable'))
})
