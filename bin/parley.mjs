#!/usr/bin/env node
// Starts the command line on the Node that `npm ci` pinned. This file runs on whatever Node a machine has, so it keeps
// to syntax and modules that old ones know.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const NODE_MAJOR_MIN = 24
const EXIT_FAILED = 1
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const require = createRequire(import.meta.url)
/** The same as in parley.ts, for parley.ts itself. */
const CACHE = join(root, 'node_modules', '.cache', 'compiled')

function resolved(name) {
  try {
    return require.resolve(name)
  } catch (_) {
    return undefined
  }
}

function pinnedNode() {
  const system = process.platform === 'win32' ? 'win' : process.platform
  const manifest = resolved(`node-${system}-${process.arch}/package.json`)
  if (!manifest) return undefined
  const binary = join(dirname(manifest), 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  return existsSync(binary) ? binary : undefined
}

function fail(line) {
  process.stderr.write(`parley: ${line}\n`)
  process.exit(EXIT_FAILED)
}

function chooseNode() {
  if (!resolved('commander')) fail(`its packages are not installed. Next: run \`npm ci\` in ${root}`)
  const pinned = pinnedNode()
  if (pinned) return pinned
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR_MIN) return process.execPath
  return fail(
    'needs Node ' +
      NODE_MAJOR_MIN +
      ' or newer; this is ' +
      process.version +
      ' (' +
      process.execPath +
      '), and no pinned Node is ' +
      'installed for ' +
      process.platform +
      '-' +
      process.arch +
      '. Next: run `npm ci` in ' +
      root +
      ' without --omit=optional, or install Node ' +
      NODE_MAJOR_MIN,
  )
}

const node = chooseNode()
// One thread collects garbage behind the loop. Four of them, which Node starts on any machine, take turns with the loop
// where there are fewer cores than threads, and everybody waits.
const { nodeFlags } = require('../package.json').config

// The child watches descriptor 3: when this process ends, however it ends, the pipe closes and the child ends too.
const child = spawn(node, nodeFlags.concat(join(root, 'parley.ts'), process.argv.slice(2)), {
  stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
  env: Object.assign({ NODE_COMPILE_CACHE: CACHE }, process.env, { PARLEY_PARENT_FD: '3' }),
})
child.stdio[3].on('error', () => {})

// A terminal sends Ctrl-C to the child as well; passing it on would make it two.
const onTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2']) {
  process.on(signal, () => {
    if (signal !== 'SIGINT' || !onTerminal) child.kill(signal)
  })
}

child.on('error', (error) => fail(`cannot start ${child.spawnfile}: ${error.message}`))
child.on('exit', (code, signal) => {
  if (!signal) return process.exit(code === null ? EXIT_FAILED : code)
  process.removeAllListeners(signal)
  process.kill(process.pid, signal)
})
