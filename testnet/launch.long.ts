import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { launchTestnet } from './index.ts'

const running = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

const health = async (origin: string): Promise<number> => (await fetch(`${origin}/v1/health`)).status

test('regions come up, are listed, come back after a kill where they were, and leave nothing behind', async () => {
  const network = await launchTestnet({ regions: [{ name: 'north' }, { name: 'south' }] })
  const north = network.region('north')
  const pids = [network.bootstrap.pid, ...network.regions.map(({ relay }) => relay.pid)].filter(
    (pid) => pid !== undefined,
  )
  assert.equal(new Set(pids).size, 3)
  assert.equal(await health(north.url), 200)
  assert.deepEqual(await north.relay.kill(), { code: null, signal: 'SIGKILL' })
  await assert.rejects(health(north.url))
  await north.relay.start()
  assert.equal(await health(north.url), 200)
  assert.equal(north.relay.ready.regionId, north.id)
  const late = await network.addRegion('late')
  assert.equal(network.region('late'), late)
  const answer = (await (await fetch(`${network.bootstrapUrl}/v1/regions`)).json()) as { regions: string[] }
  assert.equal(answer.regions.length, 3)
  await network.close()
  for (const pid of pids) assert.ok(!running(pid))
  await assert.rejects(access(network.dir))
})

/** Of ours; the handle of one that has ended is there until the next turn. */
async function childProcesses(): Promise<number> {
  await new Promise(setImmediate)
  return process.getActiveResourcesInfo().filter((it) => it === 'ProcessWrap').length
}

test('a region that fails ends the others as well, also those that are still starting', async () => {
  const before = await childProcesses()
  const inFront = async (name: string): Promise<string> => {
    if (name === 'north') throw new Error('nothing goes in front of north')
    return 'http://127.0.0.1:1'
  }
  // Only how far it comes matters; so that this is soon, it ends at once.
  const preload = () => ({ args: ['-e', 'process.exit(3)'], env: {} })
  const launching = launchTestnet({ regions: [{ name: 'north' }, { name: 'south' }], inFront, preload })
  await assert.rejects(launching, /nothing goes in front of north/)
  assert.equal(await childProcesses(), before)
})

const LAUNCHER = `
import { launchTestnet } from './testnet/index.ts'
const network = await launchTestnet({ dir: process.argv[1], regions: [{ name: 'north' }] })
console.log(JSON.stringify([network.bootstrap.pid, network.region('north').relay.pid]))
`

async function pidsOf(launcher: ChildProcess): Promise<number[]> {
  assert.ok(launcher.stdout)
  const [line] = await once(createInterface(launcher.stdout), 'line')
  return JSON.parse(line)
}

test('no child survives a launcher that is killed', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'parley-killed-'))
  const launcher = spawn(process.execPath, ['--input-type=module', '-e', LAUNCHER, dir], {
    cwd: `${import.meta.dirname}/..`,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const pids = await pidsOf(launcher)
  assert.ok(pids.length === 2 && pids.every(running))
  launcher.kill('SIGKILL')
  await once(launcher, 'close')
  const gone = new Set<number>()
  while (gone.size < pids.length) {
    for (const pid of pids) if (!running(pid)) gone.add(pid)
    await new Promise(setImmediate)
  }
  await rm(dir, { recursive: true })
})
