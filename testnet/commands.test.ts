import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { type Kept, talkFaults } from './demo.ts'

const root = join(import.meta.dirname, '..')

function parley(program: string, ...args: string[]): ChildProcess {
  return spawn(process.execPath, [join(root, program), ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
}

async function linesUntil(child: ChildProcess, last: RegExp): Promise<string[]> {
  assert.ok(child.stdout)
  const lines: string[] = []
  for await (const line of createInterface(child.stdout)) {
    lines.push(line)
    if (last.test(line)) return lines
  }
  throw new Error(`it ended after:\n${lines.join('\n')}`)
}

test('the demo: every message goes all its way, the network stays up, Ctrl-C (which npm doubles) ends it', async () => {
  const child = parley('bin/parley.mjs', 'testnet', '--demo')
  const said = (await linesUntil(child, /^Ctrl-C ends it/)).join('\n')
  assert.equal(said.match(/ {2}numbered {2}\d+\.\d+ by the host, (north|south)$/gm)?.length, 6)
  for (const step of ['received ', 'delivered', 'read     '])
    assert.equal(said.match(new RegExp(` ms  ${step} `, 'g'))?.length, 6)
  assert.match(said, /6 messages: each one once, in order, decrypted/)
  const origin = /^bootstrap +(\S+)$/m.exec(said)?.[1]
  assert.equal((await fetch(`${origin}/v1/health`)).status, 200)
  child.kill('SIGINT')
  child.kill('SIGINT')
  assert.deepEqual(await once(child, 'exit'), [0, null])
  await assert.rejects(fetch(`${origin}/v1/health`))
})

test('a message that is lost, doubled, out of order or garbled is noticed', () => {
  const talk = [
    [0, 'a'],
    [1, 'b'],
    [0, 'c'],
  ] as const
  const good: [Kept, Kept] = [
    { history: talk, received: ['b'] },
    { history: talk, received: ['a', 'c'] },
  ]
  assert.deepEqual(talkFaults(good, talk), [])
  const history = [talk[0], talk[2], talk[1]] as const
  for (const received of [['a'], ['a', 'c', 'c'], ['c', 'a'], ['a', '?']]) {
    assert.equal(talkFaults([good[0], { history: talk, received }], talk).length, 1)
  }
  assert.equal(talkFaults([{ ...good[0], history }, good[1]], talk).length, 1)
})
