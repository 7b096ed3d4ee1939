import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Manifest, Position } from '#protocol'
import { makeDevice } from '../fixtures.ts'
import { makePair } from './bench.ts'
import {
  cursorOf,
  deviceText,
  highestCursor,
  type InboxRow,
  isDone,
  lowestCursor,
  moveCursor,
  newInboxRow,
  readInboxRow,
  writeInboxRow,
} from './inbox.ts'

const devices = [1, 2, 3].map((n) => makeDevice(n, { rootEpoch: 1, version: 1 }))
const { host } = makePair()
const manifest = (count: number): Manifest => ({
  ...host.manifest,
  devices: devices.slice(0, count).map((d) => d.entry),
})
const NAMES = devices.map(deviceText)
const HEAD = 20 as Position
const at = fc.integer({ min: 0, max: HEAD }).map((n) => n as Position)

const rows = fc
  .record({
    base: at,
    activityMs: fc.integer({ min: 0, max: 2 ** 50 }),
    moves: fc.array(fc.tuple(fc.constantFrom(...NAMES), at), { maxLength: 10 }),
    unmarked: fc.subarray(NAMES),
  })
  .map(({ base, activityMs, moves, unmarked }) => {
    const row = newInboxRow(base, activityMs)
    for (const [device, to] of moves) moveCursor(row, device, to)
    for (const device of unmarked) row.unmarked.add(device)
    return { row, moves }
  })

test('a cursor only moves forward, and from the base on', () => {
  fc.assert(
    fc.property(rows, ({ row, moves }) => {
      for (const name of NAMES) {
        const highest = Math.max(row.base, ...moves.filter(([device]) => device === name).map(([, to]) => to))
        assert.equal(cursorOf(row, name, HEAD), highest)
        assert.equal(moveCursor(row, name, highest as Position), false)
        assert.equal(moveCursor(row, name, (highest + 1) as Position), true)
      }
    }),
  )
})

test('without a row every device has everything', () => {
  assert.equal(cursorOf(undefined, NAMES[0]!, HEAD), HEAD)
  assert.equal(lowestCursor(undefined, manifest(2), HEAD), HEAD)
  assert.equal(highestCursor(undefined, HEAD), HEAD)
})

test('a row goes when each device of the manifest has the head and heard the registers, and no sooner', () => {
  fc.assert(
    fc.property(rows, fc.integer({ min: 1, max: 3 }), ({ row }, count) => {
      const cursors = NAMES.slice(0, count).map((name) => cursorOf(row, name, HEAD))
      const all = cursors.every((c) => c >= HEAD)
      assert.equal(isDone(row, manifest(count), HEAD), all && row.unmarked.size === 0)
      assert.equal(lowestCursor(row, manifest(count), HEAD), Math.min(...cursors))
      assert.equal(isDone(row, undefined, HEAD), false, 'nobody knows who has to have it')
      assert.equal(lowestCursor(row, undefined, HEAD), row.base)
      const everyone = NAMES.map((name) => cursorOf(row, name, HEAD))
      assert.equal(highestCursor(row, HEAD), Math.max(row.base, ...everyone), 'what `delivered` says')
    }),
  )
})

test('rows are read as they were written', () => {
  const same = (row: InboxRow): void => assert.deepEqual(readInboxRow(writeInboxRow(row)), row)
  fc.assert(fc.property(rows, ({ row }) => same(row)))
  same(newInboxRow((2 ** 53 - 1) as Position, 2 ** 53 - 1))
})
