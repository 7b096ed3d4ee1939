import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConvId, RegionId } from '#protocol'
import type { Conversation } from './conversation.ts'
import { Introductions } from './introductions.ts'
import type { LinkPort } from './ports.ts'

/** More than are remembered. */
const MANY = 70_000
const AGAIN_MS = 200
const NORTH = 'north' as RegionId
const SOUTH = 'south' as RegionId

test('each region is introduced to a conversation once on a link, and of very many the latest are remembered', () => {
  const told: string[] = []
  let nowMs = 0
  const links = { send: (to, { conv }) => void told.push(`${to} ${conv}`) } as Partial<LinkPort> as LinkPort
  const introductions = new Introductions({ links, clock: { monotonic: () => nowMs } }, AGAIN_MS, () => [])
  const convs = Array.from({ length: MANY }, (_, i) => {
    const conv: Partial<Conversation> = { id: `${i}` as ConvId, genesisBytes: new Uint8Array(65) }
    return conv as Conversation
  })
  const heard = (region: RegionId, of: readonly Conversation[]): number => {
    const before = told.length
    for (const conv of of) introductions.before(region, conv)
    return told.length - before
  }
  assert.equal(heard(NORTH, convs), MANY)
  assert.equal(heard(NORTH, convs.slice(-10)), 0)
  assert.equal(heard(NORTH, convs.slice(0, 10)), 10, 'what was forgotten is said once more')
  assert.equal(heard(NORTH, convs.slice(0, 10)), 0)
  assert.equal(heard(SOUTH, convs.slice(0, 10)), 10)
  introductions.anew(NORTH, convs[3]!)
  assert.equal(heard(NORTH, convs.slice(0, 10)), 1)
  introductions.reset(NORTH)
  assert.equal(heard(NORTH, convs.slice(0, 10)), 10)
  assert.equal(heard(SOUTH, convs.slice(0, 10)), 0)

  const opened = (homes: number): number => {
    const before = told.length
    for (let i = 0; i < 50; i++) introductions.atTimes(NORTH, convs[11]!, homes)
    return told.length - before
  }
  assert.equal(opened(2), 1, 'looked at very often, said once')
  assert.equal(heard(NORTH, [convs[11]!]), 0)
  assert.equal(opened(3), 1, 'somebody lives elsewhere since')
  nowMs += AGAIN_MS
  assert.equal(opened(3), 1)
})
