// Three of the planted bugs, one for each kind of check; `npm run sim:plants` looks for all of them.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { STORE_PLANTS } from '../chaos/plants.ts'
import { findPlant } from './find-plant.ts'
import { PLANTS } from './plants.ts'

const root = new URL('../../', import.meta.url)
const EVERY_DAY = ['safe-too-early', 'device-acknowledges-early', 'restart-without-lag-rows']

for (const id of EVERY_DAY) {
  test(`the simulator finds: ${id}`, { timeout: 60_000 }, async (t) => {
    const finding = await findPlant(PLANTS.find((plant) => plant.id === id)!)
    assert.ok(finding, 'not found')
    t.diagnostic(`seed ${finding.seed}: ${finding.what}`)
  })
}

test('every plant still fits its source, once, and has a name of its own', () => {
  for (const { id, file, patches } of [...PLANTS, ...STORE_PLANTS]) {
    const source = readFileSync(new URL(file, root), 'utf8')
    for (const [find, replace] of patches) {
      assert.equal(source.split(find).length, 2, `${id} in ${file}: ${find}`)
      assert.notEqual(find, replace)
    }
  }
  assert.equal(new Set(PLANTS.map(({ id }) => id)).size, PLANTS.length)
  assert.ok(PLANTS.length >= 25)
})

test('a plant that does not exist is not run without it', () => {
  const hook = new URL('plant-hook.ts', import.meta.url).href
  const { status, stderr } = spawnSync(process.execPath, ['--import', hook, '-e', '0'], {
    env: { ...process.env, SIM_PLANT: 'none' },
    encoding: 'utf8',
  })
  assert.notEqual(status, 0)
  assert.match(stderr, /no plant is called none/)
})
