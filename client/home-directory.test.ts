import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { systemClock } from '#protocol'
import { homeDirectory } from './home-directory.ts'
import type { OpenSession } from './session.ts'

let answer = ''
const server = createServer((_, response) => response.end(answer))
before(() => new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve)))
after(() => void server.close())

test('an answer about prekeys that says nothing, or nonsense, is the home’s fault and no fault of ours', async () => {
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const session = { origin, token: () => new Uint8Array(64) } as unknown as OpenSession
  const directory = homeDirectory(() => session, systemClock)
  answer = '{"oneTime":3,"oneTimeKyber":4}'
  assert.deepEqual(await directory.prekeyCounts(), { oneTime: 3, oneTimeKyber: 4 })
  for (answer of ['', 'null', '{}', '{"oneTime":"x","oneTimeKyber":4}', '{"oneTime":-1,"oneTimeKyber":4}'])
    await assert.rejects(directory.prekeyCounts(), { code: 'malformed' }, answer)
})
