import assert from 'node:assert/strict'
import { once } from 'node:events'
import { appendFile, cp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { WebSocket } from 'ws'
import { compareIds, decode, limits, type PrekeyBundle, PrekeyBundleSchema, systemRandom, userIdOf } from '#protocol'
import { parley, type Ran } from './scenarios/command-line.ts'
import { type Found, filesBelow, newMark, rowsOf, search } from './scenarios/marks.ts'
import { newcomer, open, openStage, type Person, reach, type Stage, say, talkOf } from './scenarios/stage.ts'

const PATIENCE_MS = 20_000
const LIMIT = { timeout: 60_000 }

let stage: Stage
let ana: Person
let ben: Person

const profileOf = ({ profile, passphraseFile }: Pick<Person, 'profile' | 'passphraseFile'>): string[] => [
  '--profile',
  profile,
  '--passphrase-file',
  passphraseFile,
]

function done({ code, out, err }: Ran): Buffer {
  assert.equal(code, 0, err)
  return out
}

before(async () => {
  stage = await openStage('north', 'south')
  ana = await newcomer(stage, 'ana', 'north')
  ben = await newcomer(stage, 'ben', 'south')
}, LIMIT)

after(() => stage?.[Symbol.asyncDispose]())

// ---------------------------------------------------------------- sessions

type Counts = { readonly oneTime: number; readonly oneTimeKyber: number }

/** Asks the home as the device itself does, with the token of its session. */
async function prekeysLeft(region: string): Promise<Counts> {
  const sent = stage.recorded(region).map((connection) => connection.sent().toString('latin1'))
  const tokens = new Set(sent.flatMap((text) => text.match(/(?<=^authorization: )Bearer \S+/gim) ?? []))
  for (const authorization of tokens) {
    const answer = await fetch(`${stage.network.region(region).url}/v1/prekeys`, { headers: { authorization } })
    if (answer.ok) return (await answer.json()) as Counts
  }
  throw new Error('no token holds')
}

/** What a home has handed to its own people for writing to others. */
function bundlesFrom(region: string): PrekeyBundle[] {
  const came = stage.recorded(region).map((connection) => connection.came().toString('latin1'))
  return came.flatMap((text) =>
    [...text.matchAll(/"bundle":"([^"]+)"/g)].map(([, bundle]) =>
      decode(PrekeyBundleSchema, Buffer.from(bundle!, 'base64'), limits.PREKEYS_MAX_BYTES),
    ),
  )
}

test('a session takes one one-time prekey of each kind, an answer none, and no two get the same', LIMIT, async () => {
  const dan = await newcomer(stage, 'dan', 'north')
  await using atBen = await open(ben)
  const stocked = once(atBen, 'prekeys-stocked')
  atBen.connect()
  await stocked
  const full = await prekeysLeft('south')
  assert.ok(full.oneTime > 2 && full.oneTimeKyber > 2)
  const taken = (count: number): Counts => ({
    oneTime: full.oneTime - count,
    oneTimeKyber: full.oneTimeKyber - count,
  })
  await using atAna = await open(ana)
  await say(atAna, ben.userId, 'hello Ben')
  await say(atAna, ben.userId, 'and again')
  await say(atBen, ana.userId, 'hello Ana')
  assert.deepEqual(await prekeysLeft('south'), taken(1))
  await using atDan = await open(dan)
  await say(atDan, ben.userId, 'hello from Dan')
  assert.deepEqual(await prekeysLeft('south'), taken(2))
  assert.equal(bundlesFrom('south').length, 0)
  const [first, second, ...more] = bundlesFrom('north')
  assert.ok(first?.oneTime && first.kyber && second?.oneTime && second.kyber)
  assert.deepEqual(more, [])
  assert.deepEqual([first.kyberIsLastResort, second.kyberIsLastResort], [false, false])
  assert.notDeepEqual(first.oneTime.key, second.oneTime.key)
  assert.notDeepEqual(first.kyber.key, second.kyber.key)
  assert.deepEqual(talkOf(atBen, ana.userId), ['< hello Ben', '< and again', '> hello Ana'])
  assert.deepEqual(talkOf(atAna, ben.userId), ['> hello Ben', '> and again', '< hello Ana'])
})

// ---------------------------------------------------------------- pipes

const NEWLINE = Buffer.of(0x0a)

test('what goes into `send` comes out of `receive`, byte by byte', LIMIT, async () => {
  const lines = ['first', '', '', '再见 \r', Buffer.of(0xff, 0xfe, 0x00, 0x80), ' \t', 'no newline at the end']
  const input = Buffer.concat(lines.flatMap((line, i) => [...(i > 0 ? [NEWLINE] : []), Buffer.from(line)]))
  const sending = ['send', ...profileOf(ana), '--to', ben.userId]
  const receiving = ['receive', ...profileOf(ben), '--from', ana.userId]
  const earlier = done(await parley(receiving))
  const sent = JSON.parse(done(await parley([...sending, '--json'], input)).toString())
  assert.deepEqual([sent.sent, sent.failed, sent.until], [lines.length, 0, 'sequenced'])
  const received = done(await parley([...receiving, '--json', '--count', `${lines.length}`])).toString()
  const messages = received
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.deepEqual(
    messages.map(({ text, base64 }) => (base64 === undefined ? text : Buffer.from(base64, 'base64'))),
    lines,
  )
  const whole = Buffer.concat([Buffer.of(0xc3), NEWLINE, NEWLINE, Buffer.from(systemRandom.bytes(60_000))])
  const reading = parley([...receiving, '--count', '1', '--timeout', '20'])
  done(await parley([...sending, '--whole', '--until', 'delivered', '--timeout', '20'], whole))
  assert.deepEqual(done(await reading), Buffer.concat([whole, NEWLINE]))
  const again = done(await parley([...receiving, '--again']))
  assert.deepEqual(again, Buffer.concat([earlier, input, NEWLINE, whole, NEWLINE]))
})

// ---------------------------------------------------------------- a region that joins later

test('somebody in a region that joined later is found by the bare id, and kept waiting by nothing', LIMIT, async () => {
  const east = await stage.network.addRegion('east')
  const cyn = await newcomer(stage, 'cyn', 'east')
  {
    await using atBen = await open(ben)
    await using atCyn = await open(cyn)
    atCyn.connect()
    await say(atBen, cyn.userId, 'I have your id only')
    await say(atCyn, ben.userId, 'that is enough')
    assert.deepEqual(talkOf(atBen, cyn.userId), ['> I have your id only', '< that is enough'])
    assert.deepEqual(talkOf(atCyn, ben.userId), ['< I have your id only', '> that is enough'])
  }
  await east.relay.stop()
  const away = await parley(['send', ...profileOf(cyn), '--to', ben.userId, '--timeout', '0.5'], 'kept')
  refused(away, 4, 'unreachable', /^parley: not connected: .*what is stored goes with the next connection/)
  await east.relay.start()
  const back = ['receive', ...profileOf(cyn)]
  assert.equal(done(await parley(back)).toString(), 'I have your id only\n')
  assert.equal(
    done(await parley(['receive', ...profileOf(ben), '--from', cyn.userId, '--count', '2'])).toString(),
    'that is enough\nkept\n',
  )
})

// ---------------------------------------------------------------- what goes wrong

/** One line that says what happened, its code and the next step; nothing on standard output. */
function refused(ran: Ran, exit: number, code: string, says: RegExp): void {
  assert.match(ran.err, new RegExp(`^parley: [^\\n]+ \\[${code}\\]\\. Next: [^\\n]+\\n$`))
  assert.match(ran.err, says)
  assert.deepEqual([ran.code, ran.out.toString()], [exit, ''])
}

test('whatever goes wrong is one line with the next step, and an exit code', LIMIT, async () => {
  const home = stage.network.region('north').url
  const wrong = { ...ana, passphraseFile: join(stage.network.dir, 'wrong.passphrase') }
  await writeFile(wrong.passphraseFile, 'not it\n')
  const nowhere = { ...ana, profile: join(stage.network.dir, 'people', 'nobody') }
  const typo = `${ben.userId.slice(0, -1)}${ben.userId.endsWith('q') ? 'p' : 'q'}`
  const stranger = userIdOf(systemRandom.bytes(32))
  const add = ['contact', 'add', ...profileOf(ana)]
  const create = ['account', 'create', ...profileOf(nowhere)]
  type Case = [args: string[], exit: number, code: string, says: RegExp]
  const withProfile: Case[] = [
    [[...add, typo, 'ben'], 2, 'bad_id', /Next: copy the id again/],
    [[...add, stranger, 'zoe'], 3, 'unknown_user', /nobody with this id .*Next: check the id/],
    [['chat', ...profileOf(ana), '--to', 'zoe'], 3, 'not_found', /no contact is called zoe .*contact list/],
    [['account', 'show', ...profileOf(wrong)], 1, 'wrong_passphrase', /Next: type it again/],
  ]
  const without: Case[] = [
    [['account', 'show', ...profileOf(nowhere)], 1, 'no_such_profile', /nobody .*Next: create it with `parley account/],
    [[...create, '--home', 'http://127.0.0.1:1'], 4, 'unreachable', /127\.0\.0\.1:1 cannot be reached/],
    [[...create, '--bootstrap', home], 3, 'not_found', /not a bootstrap node .*--home/],
    [['account', 'create', ...profileOf(ana), '--home', home], 3, 'already_registered', /another with --name/],
  ]
  const inTurn = async (cases: readonly Case[]): Promise<void> => {
    for (const [args, exit, code, says] of cases) refused(await parley(args), exit, code, says)
  }
  await Promise.all([inTurn(withProfile), inTurn(without)])
  await using _held = await open(ana)
  refused(await parley(['receive', ...profileOf(ana)]), 1, 'profile_in_use', /Next: close the other program/)
})

// ---------------------------------------------------------------- copies and recovery

test('an old copy of a profile goes on as a new device, once a day', LIMIT, async () => {
  await using atAna = await open(ana)
  atAna.connect()
  const copy = { ...ben, profile: `${ben.profile}-copy` }
  const second = { ...ben, profile: `${ben.profile}-second` }
  await cp(ben.profile, copy.profile, { recursive: true })
  {
    await using original = await open(ben)
    await say(original, ana.userId, 'life goes on')
  }
  const since = talkOf(atAna, ben.userId)
  const changed = once(atAna, 'contact-changed')
  {
    await using old = await open(copy)
    await old.send(ana.userId, 'only in the copy')
    const replaced = once(old, 'device-replaced')
    await say(old, ana.userId, 'and this')
    await replaced
    await say(atAna, ben.userId, 'welcome back')
    assert.deepEqual((await changed)[0], { type: 'contact-changed', user: ben.userId, change: 'devices' })
    assert.deepEqual(talkOf(old, ana.userId).slice(-3), ['> only in the copy', '> and this', '< welcome back'])
  }
  const said = ['< only in the copy', '< and this', '> welcome back']
  assert.deepEqual(talkOf(atAna, ben.userId), [...since, ...said].slice(-50))
  await cp(copy.profile, second.profile, { recursive: true })
  {
    await using goesOn = await open(copy)
    await goesOn.connected(PATIENCE_MS)
  }
  refused(await parley(['receive', ...profileOf(second)]), 3, 'old_profile', /an old copy .*--recover/)
  refused(
    await parley(['receive', ...profileOf(ben)]),
    3,
    'unsigned_device',
    /does not count any more.*Next: use the other profile/,
  )
  ben = copy
  await using goesOn = await open(ben)
  await say(goesOn, ana.userId, 'still here')
})

test('the recovery phrase brings the account back; the lost device is signed out', LIMIT, async () => {
  const phraseFile = join(stage.network.dir, 'ana.phrase')
  await writeFile(phraseFile, `${ana.recoveryPhrase}\n`)
  const back = { ...ana, profile: `${ana.profile}-back` }
  const home = stage.network.region(ana.region).url
  await using atBen = await open(ben)
  await atBen.connected(PATIENCE_MS)
  {
    await using lost = await open(ana)
    await lost.connected(PATIENCE_MS)
    const changed = once(atBen, 'contact-changed')
    const recover = ['account', 'create', '--recover', '--phrase-file', phraseFile, '--home', home, '--json']
    const made = JSON.parse(done(await parley([...recover, ...profileOf(back)])).toString())
    assert.deepEqual([made.userId, made.registration], [ana.userId, '2.1'])
    await lost.until(() => lost.state.is === 'stopped', PATIENCE_MS)
    await using atAna = await open(back)
    await say(atAna, ben.userId, 'I lost it')
    assert.deepEqual((await changed)[0], { type: 'contact-changed', user: ana.userId, change: 'root' })
    await say(atBen, ana.userId, 'but not me')
    assert.deepEqual(talkOf(atAna, ben.userId).slice(-2), ['> I lost it', '< but not me'])
    assert.deepEqual(talkOf(atBen, ana.userId).slice(-2), ['< I lost it', '> but not me'])
  }
  const ended = await parley(['send', ...profileOf(ana), '--to', ben.userId], 'from the thief')
  refused(ended, 3, 'unsigned_device', /does not count any more.*Next: use the other profile/)
  ana = back
})

// ---------------------------------------------------------------- canaries

/** There is something to be searched. */
const JOURNAL_LEAST_BYTES = 40_000

/** Everything that relays have, and what went over the wire; their processes have ended. */
async function everything(): Promise<Found[]> {
  const { dir, regions } = stage.network
  const rows = await Promise.all(regions.map((region) => rowsOf(join(region.dir, 'store'))))
  const files = await filesBelow(dir)
  for (const [i, region] of regions.entries()) {
    // Of a relay that was killed much may be in the journal only, where each record lies in one piece.
    const journal = files.filter(({ place }) => place.startsWith(join(region.dir, 'store', 'journal-')))
    const written = journal.map(({ bytes }) => bytes.findLastIndex((byte) => byte !== 0))
    assert.ok(rows[i]!.length > 10 || Math.max(...written) > JOURNAL_LEAST_BYTES, region.name)
  }
  const wire = regions.flatMap(({ name }) =>
    stage.recorded(name).flatMap((connection, i) => [
      { place: `frame to ${name}, connection ${i}`, bytes: connection.sent() },
      { place: `frame from ${name}, connection ${i}`, bytes: connection.came() },
    ]),
  )
  return [...files, ...rows.flat(), ...wire]
}

async function metrics(): Promise<Found[]> {
  return await Promise.all(
    stage.network.regions.map(async ({ url }) => ({
      place: `${url}/metrics`,
      bytes: Buffer.from(await (await fetch(`${url}/metrics`)).text()),
    })),
  )
}

/** The same marks where they must not be, each spelled in another way. */
async function plant(mark: string): Promise<Found[]> {
  const { dir, url, relay } = stage.network.region('north')
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/session`, ['parley.v1'])
  await once(socket, 'open')
  socket.send(Buffer.from(`.....${mark}.....`))
  await once(socket, 'close')
  await writeFile(join(dir, 'store', 'planted'), `..${Buffer.from(mark).toString('hex')}..`)
  await relay.stop()
  await appendFile(relay.logFile, `{"msg":"${Buffer.from(`..${mark}..`).toString('base64')}"}\n`)
  return [...(await everything()), ...(await rowsOf(join(dir, 'store'), mark))]
}

test('nothing that people say is to be found at a relay, nor on the wire', LIMIT, async () => {
  const [host, guest] = compareIds(ana.userId, ben.userId) < 0 ? [ana, ben] : [ben, ana]
  const [hosting, away] = [stage.network.region(host.region), stage.network.region(guest.region)]
  const marks = Array.from({ length: 6 }, newMark)
  const [online, answer, inbox, held, late, alias] = marks as [string, string, string, string, string, string]
  await using atGuest = await open(guest)
  {
    await using atHost = await open(host)
    atHost.connect()
    await atHost.addContact(guest.userId, alias)
    await say(atGuest, host.userId, online)
    await say(atHost, guest.userId, answer)
  }
  await reach(atGuest, host.userId, inbox, 'sequenced')
  await hosting.relay.kill()
  await reach(atGuest, host.userId, held, 'held')
  await away.relay.kill()
  assert.deepEqual(search(await everything(), marks), [])
  await Promise.all([hosting.relay.start(), away.relay.start()])
  await using atHost = await open(host)
  atHost.connect()
  await say(atGuest, host.userId, late)
  const said = [`< ${online}`, `> ${answer}`, `< ${inbox}`, `< ${held}`, `< ${late}`]
  assert.deepEqual(talkOf(atHost, guest.userId).slice(-said.length), said)
  assert.deepEqual(search(await metrics(), marks), [])
  const planted = newMark()
  const found = search(await plant(planted), [planted])
  for (const place of [/planted: /, /^row .* of .*north/, /north\.log: /, /^frame to north/]) {
    assert.ok(
      found.some((hit) => place.test(hit)),
      `${place} in ${found}`,
    )
  }
  assert.equal(found.length, 4)
  await Promise.all(stage.network.regions.map(({ relay }) => relay.stop()))
  assert.deepEqual(search(await everything(), marks), [])
})
