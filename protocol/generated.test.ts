import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'

const ROOT = join(import.meta.dirname, '..')
const BIN = join(ROOT, 'node_modules', '.bin')
const GENERATED = join(import.meta.dirname, 'gen')

function filesOf(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .sort()
      .map((name) => [name, readFileSync(join(folder, name), 'utf8')]),
  )
}

function buf(...args: readonly string[]) {
  const env = { ...process.env, PATH: `${BIN}:${process.env.PATH}` }
  return spawnSync(join(BIN, 'buf'), args, { cwd: ROOT, env, encoding: 'utf8', timeout: 60_000 })
}

it('the generated code is what buf makes of the schemas', (t) => {
  const version = buf('--version')
  if (version.error || version.status !== 0) {
    t.skip(`NOT CHECKED: buf does not run here (${version.error?.message ?? version.stderr})`)
    return
  }
  const temporary = mkdtempSync(join(tmpdir(), 'parley-gen-'))
  try {
    const made = buf('generate', '--output', temporary)
    assert.equal(made.status, 0, made.stderr)
    const found = filesOf(join(temporary, 'protocol', 'gen'))
    assert.ok(Object.keys(found).length > 0)
    assert.deepEqual(Object.keys(filesOf(GENERATED)), Object.keys(found))
    for (const [name, text] of Object.entries(filesOf(GENERATED))) {
      assert.ok(text === found[name], `${name} is stale: npm run proto`)
    }
    const lint = buf('lint')
    assert.equal(lint.status, 0, lint.stdout)
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
})
