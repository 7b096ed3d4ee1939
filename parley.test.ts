import assert from 'node:assert/strict'
import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import manifest from './package.json' with { type: 'json' }

const root = import.meta.dirname
const program = join(root, 'parley.ts')
const launcher = join(root, 'bin/parley.mjs')

const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  relay: ['init', 'start', 'check', 'renew', 'restore'],
  bootstrap: ['start'],
  account: ['create', 'show', 'move'],
  contact: ['add', 'list', 'verify'],
  chat: [],
  send: [],
  receive: [],
  testnet: [],
}

function parley(...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' })
}

/** Standard output of a command that must end with 0. */
async function output(...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const chunks: string[] = []
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk))
  const [code] = await once(child, 'close')
  assert.equal(code, 0, args.join(' '))
  return chunks.join('')
}

test('the help lists every command without loading one, and explains the exit codes', () => {
  const { status, stdout } = parley('--help')
  assert.equal(status, 0)
  for (const [name, below] of Object.entries(COMMANDS)) {
    assert.match(stdout, new RegExp(`^  ${name} .*${below.join(', ')}`, 'm'))
  }
  assert.match(stdout, /Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused/)
  assert.equal(parley().stdout, stdout)
  assert.equal(parley('--version').stdout, `${manifest.version}\n`)
})

for (const [name, below] of Object.entries(COMMANDS)) {
  test(`${name}: every command below it is there, with a help that has an example`, async () => {
    const helps = await Promise.all(
      (below.length ? below : ['']).map((it) => output(name, ...(it ? [it] : []), '--help')),
    )
    for (const help of helps) assert.match(help, /Examples?:/, help)
    if (below.length)
      assert.match(await output('help', name), new RegExp(below.map((it) => `^  ${it} [^]*`).join(''), 'm'))
  })
}

test('wrong usage says so, with the next step, and ends with 2', () => {
  for (const args of [['chatt'], ['--no-such-option'], ['relay', 'start']]) {
    const { status, stdout, stderr } = parley(...args)
    assert.equal(status, 2, args.join(' '))
    assert.equal(stdout, '')
    assert.match(stderr, /^parley: (unknown|required) (command|option) .*\n(.*\n)?Next: /)
  }
})

test('a failure is one line with its code and the next step', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'parley-root-'))
  const { status, stdout, stderr } = parley('account', 'show', '--profile', join(dir, 'nobody'))
  await rm(dir, { recursive: true })
  assert.equal(status, 1)
  assert.equal(stdout, '')
  assert.match(stderr, /^parley: .* \[no_such_profile\]\. Next: .*\n$/)
})

test('a reader that goes away is not an error', async () => {
  const child = spawn(process.execPath, [program, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  const errors: string[] = []
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => errors.push(chunk))
  const [code] = await once(child, 'close')
  assert.equal(errors.join(''), '')
  assert.equal(code, 0)
})

test('the launcher finds the pinned Node, passes the exit code on, and says what is missing', async () => {
  const run = (file: string, ...args: string[]): SpawnSyncReturns<string> =>
    spawnSync(process.execPath, [file, ...args], { encoding: 'utf8' })
  assert.equal(run(launcher, '--version').stdout, `${manifest.version}\n`)
  assert.equal(run(launcher, 'chatt').status, 2)
  const saying = { NODE_OPTIONS: '--import=data:text/javascript,console.error(process.execArgv.join())' }
  const told = spawnSync(process.execPath, [launcher, '--version'], {
    encoding: 'utf8',
    env: { ...process.env, ...saying },
  })
  assert.match(told.stderr, new RegExp(`^${manifest.config.nodeFlags.join()}$`, 'm'))
  const bare = await mkdtemp(join(tmpdir(), 'parley-bare-'))
  await cp(launcher, join(bare, 'bin/parley.mjs'))
  const { status, stderr } = run(join(bare, 'bin/parley.mjs'), '--version')
  await rm(bare, { recursive: true })
  assert.equal(status, 1)
  assert.match(stderr, /^parley: its packages are not installed\. Next: run `npm ci` in /)
})
