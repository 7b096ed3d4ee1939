import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'

function demoOnce(...more: string[]): ChildProcess {
  const args = [join(import.meta.dirname, '..', 'parley.ts'), 'testnet', '--demo', '--once', ...more]
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
}

async function untilSaid(child: ChildProcess, what: RegExp): Promise<void> {
  assert.ok(child.stdout)
  for await (const line of createInterface(child.stdout)) if (what.test(line)) return
  assert.fail(`it ended without saying ${what}`)
}

test('--once ends by itself', async () => {
  const child = demoOnce('--regions', 'left,right')
  const ended = once(child, 'exit')
  await untilSaid(child, /messages: each one once/)
  assert.deepEqual(await ended, [0, null])
})

test('--once that is ended before the conversation is over does not look like success', async () => {
  const child = demoOnce()
  const ended = once(child, 'exit')
  await untilSaid(child, /^bootstrap /)
  child.kill('SIGTERM')
  assert.deepEqual(await ended, [143, null])
})
