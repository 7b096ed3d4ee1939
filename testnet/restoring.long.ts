// The disk of a relay goes back to an old backup, and is lost altogether, between real processes.
import assert from 'node:assert/strict'
import { cp, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Parley } from '#client'
import { parley } from './scenarios/command-line.ts'
import { newcomer, open, openStage, type Person, reach, type Stage, say, talkOf } from './scenarios/stage.ts'

const LOST = 'from nothing'
const LIMIT = { timeout: 180_000 }
const REFUSED = /^parley: this store is an old backup: .* \[old_backup\]\. Next: put the newest store back/m

const turned = (line: string): string => (line.startsWith('<') ? '>' : '<') + line.slice(1)

/** What `relay start` says when it does not. */
async function refusal(stage: Stage, region: string): Promise<string> {
  const { relay } = stage.network.region(region)
  const before = (await readFile(relay.logFile, 'utf8')).length
  await assert.rejects(relay.start(), { code: 'unreachable' })
  return (await readFile(relay.logFile, 'utf8')).slice(before)
}

async function restore(stage: Stage, region: string): Promise<void> {
  const { code, err, out } = await parley(['relay', 'restore', '--data', stage.network.region(region).dir])
  assert.equal(code, 0, err)
  assert.match(out.toString(), /goes on from what is in .*\nNext: parley relay start/)
}

/** Whose phone is gone as well, and who has but the phrase. */
async function comesBack(stage: Stage, lost: Person, other: Person): Promise<void> {
  const { recoveryPhrase, passphrase } = lost
  const home = stage.network.region(lost.region).url
  await using back = await Parley.recover(`${lost.profile}-again`, { home, recoveryPhrase, passphrase })
  assert.equal(back.userId, lost.userId)
  await using there = await open(other)
  there.connect()
  await say(back, other.userId, 'my phone is gone')
  await say(there, lost.userId, 'here you are')
  assert.deepEqual(talkOf(back, other.userId), ['> my phone is gone', '< here you are'])
}

test(
  'a relay notices that its store went back, and goes on when it is told to: what others have comes back',
  LIMIT,
  async () => {
    await using stage = await openStage('north', 'south')
    const [ana, ben, eve] = [
      await newcomer(stage, 'ana', 'north'),
      await newcomer(stage, 'ben', 'south'),
      await newcomer(stage, 'eve', 'north'),
    ]
    const pairs: readonly [Person, Person, string[]][] = [
      [ana, ben, []],
      [ana, eve, []],
      [eve, ben, []],
    ]
    const talk = async (text: string, among = pairs): Promise<void> => {
      for (const [one, other, told] of among) {
        await using here = await open(one)
        await using there = await open(other)
        here.connect()
        await say(there, one.userId, `${text}, ${other.name}`)
        await say(here, other.userId, `${text}, ${one.name}`)
        told.push(`< ${text}, ${other.name}`, `> ${text}, ${one.name}`)
        const [mine, theirs] = [talkOf(here, other.userId), talkOf(there, one.userId)]
        assert.deepEqual(theirs, mine.map(turned), 'both show the same, in one order')
        // What was lost in the only region that had it is said again by those who said it, in whatever order they come.
        assert.deepEqual(mine.toSorted(), told.toSorted())
        if (text !== LOST) assert.deepEqual(mine, told)
      }
    }
    const { relay, dir } = stage.network.region('north')
    const dan = await newcomer(stage, 'dan', 'north')
    const store = join(dir, 'store')
    await talk('before')
    for (const [, other, told] of pairs.slice(0, 2)) {
      await using from = await open(other)
      from.connect()
      await reach(from, ana.userId, 'while ana is away', 'sequenced')
      told.push('< while ana is away')
    }
    await relay.stop()
    await cp(store, `${store}.backup`, { recursive: true })
    await relay.start()
    await talk('after the backup', pairs.slice(2))
    // Others are told each second how far the journal has come, and at every link-up: a relay that is ready has told them.
    await relay.restart()
    await relay.kill()
    await rm(store, { recursive: true })
    await rename(`${store}.backup`, store)
    assert.match(await refusal(stage, 'north'), REFUSED)
    // Once it was told it needs nobody to tell it again.
    await stage.network.region('south').relay.kill()
    assert.match(await refusal(stage, 'north'), REFUSED)
    await stage.network.region('south').relay.start()
    await restore(stage, 'north')
    await relay.start()
    await comesBack(stage, dan, ben)
    await talk('restored')
    await relay.kill()
    await rm(store, { recursive: true })
    assert.match(await refusal(stage, 'north'), /is empty, and this region has had one/)
    await restore(stage, 'north')
    await relay.start()
    await talk(LOST)
  },
)
