// Somebody moves to another region, on purpose and because the old one is gone, between real processes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parley } from './scenarios/command-line.ts'
import { newcomer, open, openStage, type Person, reach, type Stage, say, talkOf } from './scenarios/stage.ts'

const LIMIT = { timeout: 180_000 }

async function move(stage: Stage, who: Person, to: string, ...more: string[]): Promise<void> {
  const { url } = stage.network.region(to)
  const profile = ['--profile', who.profile, '--passphrase-file', who.passphraseFile]
  const { code, err } = await parley(['account', 'move', ...profile, '--to', url, ...more])
  assert.equal(code, 0, err)
}

test('an account moves: what was not delivered comes along, whoever hosts the conversation', LIMIT, async () => {
  await using stage = await openStage('north', 'south', 'east')
  const ana = await newcomer(stage, 'ana', 'north')
  const ben = await newcomer(stage, 'ben', 'south')
  const told: string[] = []
  const both = async (text: string): Promise<void> => {
    await using atAna = await open(ana)
    await using atBen = await open(ben)
    atAna.connect()
    await say(atBen, ana.userId, `${text}, ben`)
    await say(atAna, ben.userId, `${text}, ana`)
    told.push(`< ${text}, ben`, `> ${text}, ana`)
    assert.deepEqual(talkOf(atAna, ben.userId), told)
  }
  await both('before')
  for (const [mover, other] of [
    [ana, ben],
    [ben, ana],
  ] as const) {
    {
      await using away = await open(other)
      away.connect()
      await reach(away, mover.userId, `while ${mover.name} is away`, 'sequenced')
      told.push(`${other === ana ? '>' : '<'} while ${mover.name} is away`)
    }
    await move(stage, mover, 'east')
    // A relay that starts has nobody in memory, and still knows who came from where.
    await stage.network.region('east').relay.restart()
    await both(`${mover.name} moved`)
  }
  await move(stage, ana, 'north')
  await both('ana is back')
  await stage.network.region('east').relay.kill()
  await move(stage, ben, 'south', '--force')
  await both('ben fled')
})
