import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '#protocol'
import { startLoader } from './loader.ts'

test('whoever asks a load process that has gone is told so, each time', async () => {
  await using loader = await startLoader(systemClock, undefined)
  process.kill(loader.pid, 'SIGSTOP')
  const asked = loader.ask({ do: 'mark', group: 'any' })
  process.kill(loader.pid, 'SIGKILL')
  await assert.rejects(asked, /a load process ended \(SIGKILL\)/)
  await assert.rejects(loader.ask({ do: 'mark', group: 'any' }), /a load process ended \(SIGKILL\)/)
})
