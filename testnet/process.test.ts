import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { ParleyError, systemClock, systemRandom } from '#protocol'
import { reservePort } from './ports.ts'
import { type Exit, type ManagedProcess, managedProcess, readyFacts } from './process.ts'

let dir: string
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'parley-process-'))
})
after(() => rm(dir, { recursive: true }))

function child(
  name: string,
  source: string,
  onLost: (exit: Exit) => void = () => assert.fail('it ended by itself'),
): ManagedProcess {
  return managedProcess({
    name,
    args: ['-e', source],
    logFile: join(dir, `${name}.log`),
    env: {},
    clock: systemClock,
    onLost,
  })
}

const READY = `console.log(JSON.stringify({ ready: true, pid: process.pid }));`
const STAY = `require('node:net').createServer().listen(0, '127.0.0.1');`

test('a process is ready when it says so, and can be stopped, killed and started again', async () => {
  await using it = child('stays', READY + STAY)
  await it.start()
  const first = it.pid
  assert.equal(it.ready.pid, first)
  await it.restart()
  assert.notEqual(it.pid, first)
  assert.deepEqual(await it.kill(), { code: null, signal: 'SIGKILL' })
  assert.equal(it.pid, undefined)
  assert.equal(await it.stop(), undefined)
  assert.equal((await readFile(it.logFile, 'utf8')).match(/"ready"/g)?.length, 2)
})

test('a process that ends before it is ready says why', async () => {
  await using it = child('fails', `console.error('the port is taken'); process.exit(1)`)
  await assert.rejects(
    it.start(),
    (error) => error instanceof ParleyError && /code 1.*the port is taken/.test(error.message),
  )
})

test('a process that ends by itself is reported, one that was stopped is not', async () => {
  const { promise, resolve } = Promise.withResolvers<Exit>()
  await using it = child('dies', `process.on('SIGUSR2', () => process.exit(7)); ${READY + STAY}`, resolve)
  await it.start()
  it.signal('SIGUSR2')
  assert.deepEqual(await promise, { code: 7, signal: null })
})

test('a process that is killed before its ready line was read has not ended by itself', async () => {
  const written = join(dir, 'written')
  await using it = child('short', `${READY} require('node:fs').writeFileSync(${JSON.stringify(written)}, ''); ${STAY}`)
  const starting = it.start()
  // Without a turn of the loop: the line is in the pipe, and nobody has looked there.
  const still = new Int32Array(new SharedArrayBuffer(4))
  while (!existsSync(written)) Atomics.wait(still, 0, 0, 5)
  const killed = it.kill()
  await starting
  assert.deepEqual(await killed, { code: null, signal: 'SIGKILL' })
})

test('a process that hears nothing while it is paused is stopped all the same', async () => {
  await using it = child('paused', READY + STAY)
  await it.start()
  it.signal('SIGSTOP')
  assert.deepEqual(await it.stop(), { code: null, signal: 'SIGTERM' })
})

test('only a line that says so is a ready line', () => {
  assert.deepEqual(readyFacts('{"ready":true,"port":1}'), { ready: true, port: 1 })
  for (const line of ['', 'ready', '{"ready":true', '{"ready":false}', 'null', '[]', '{}']) {
    assert.equal(readyFacts(line), undefined, line)
  }
})

test('a reserved port is given to nobody else, and neither is one that is listened on', async () => {
  const same = { bytes: systemRandom.bytes, fraction: () => 0.5 }
  using first = await reservePort(same)
  using second = await reservePort(same)
  assert.notEqual(first.port, second.port)
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(second.port, '127.0.0.1', resolve))
  second[Symbol.dispose]()
  using third = await reservePort(same)
  assert.ok(third.port !== first.port && third.port !== second.port)
  await new Promise((resolve) => server.close(resolve))
})
