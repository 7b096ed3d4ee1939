import assert from 'node:assert/strict'
import { devNull } from 'node:os'
import { test } from 'node:test'
import { startClient } from './client.ts'

/** Stands in for a device: says that it is ready, and ends when it is asked anything. */
const ENDS_WHEN_ASKED = `process.on('message', () => process.exit(7))
process.send({ ready: true })
await new Promise(() => {})`

test('whoever asks a client that has gone is told so, each time', async () => {
  const preload = { args: ['--import', `data:text/javascript,${encodeURIComponent(ENDS_WHEN_ASKED)}`], env: {} }
  const nowhere = { region: '', userId: '', profile: '', passphraseFile: '', logFile: devNull }
  await using client = await startClient({ ...nowhere, name: 'ana', preload })
  await assert.rejects(client.ask({ do: 'times' }), /the client of ana has ended \(code 7\)/)
  await assert.rejects(client.ask({ do: 'times' }), /the client of ana has ended \(code 7\)/)
  await client.exited
})
