import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LinkHandlers, LinkItem, Links } from '#node'
import { ParleyError, type RegionId, regionIdOf } from '#protocol'
import { TURN_LINK_BYTES, TURN_MS } from './limits.ts'
import { linkAdapter } from './node-adapter.ts'
import type { Item, Relay } from './rules/ports.ts'

const EAST = regionIdOf(new Uint8Array(32).fill(1))
const WEST = regionIdOf(new Uint8Array(32).fill(2))
const ID = new Uint8Array(32).fill(3)

/** Numbered items of so many bytes each. */
const batch = (count: number, bytes: number, first = 0): LinkItem[] =>
  Array.from({ length: count }, (_, i) => ({ id: ID, kind: first + i, body: new Uint8Array(bytes) }))

type Handed = { readonly region: RegionId; readonly kinds: number[] }

function node(tookMs: number, refuses: (item: Item) => Error | undefined = () => undefined) {
  let now = 0
  const next: (() => void)[] = []
  const handed: Handed[] = []
  const faults: unknown[] = []
  const downs: RegionId[] = []
  let handlers: LinkHandlers | undefined
  const links = {
    serve: (served: LinkHandlers) => {
      handlers = served
    },
  } as unknown as Links
  const relay = {
    items(region: RegionId, items: readonly Item[]) {
      now += tookMs
      for (const item of items) {
        const error = refuses(item)
        if (error) throw error
      }
      handed.push({ region, kinds: items.map(({ kind }) => kind) })
    },
    linkDown: (region: RegionId) => void downs.push(region),
  } as unknown as Relay
  linkAdapter({
    links,
    clock: { monotonic: () => now },
    schedule: (callback) => void next.push(callback),
    fault: (error) => void faults.push(error),
  }).serve(relay)
  return {
    handed,
    faults,
    downs,
    hear: (region: RegionId, items: LinkItem[]) => handlers!.items(region, items, 'peer'),
    down: (region: RegionId) => handlers!.down(region, 'peer', undefined),
    /** The next pass; what was handed over in it. */
    pass(): Handed[] {
      for (const callback of next.splice(0)) callback()
      return handed.splice(0)
    },
  }
}

test('what little comes is handed over at once', () => {
  const { hear, handed, pass } = node(TURN_MS / 10)
  assert.equal(hear(EAST, batch(3, 100)), undefined)
  assert.equal(hear(WEST, batch(1, 100)), undefined)
  assert.deepEqual(handed.splice(0), [
    { region: EAST, kinds: [0, 1, 2] },
    { region: WEST, kinds: [0] },
  ])
  assert.deepEqual(pass(), [])
})

test('a large batch goes in pieces, a turn a pass, and another region has its own between them', async () => {
  const { hear, handed, pass } = node(TURN_MS)
  const whole = hear(EAST, batch(8, TURN_LINK_BYTES / 2))
  assert.deepEqual(handed.splice(0), [{ region: EAST, kinds: [0, 1] }])
  let over = false
  const done = Promise.resolve(whole).then(() => {
    over = true
  })
  assert.notEqual(hear(WEST, batch(1, 100)), undefined)
  assert.deepEqual(pass(), [{ region: WEST, kinds: [0] }])
  assert.deepEqual(pass(), [{ region: EAST, kinds: [2, 3] }])
  assert.deepEqual(pass(), [{ region: EAST, kinds: [4, 5] }])
  await undefined
  assert.ok(!over, 'no credit before the last piece')
  assert.deepEqual(pass(), [{ region: EAST, kinds: [6, 7] }])
  await done
  assert.deepEqual(pass(), [])
})

test('an item that is larger than a piece goes alone', () => {
  const { hear, handed } = node(0)
  hear(EAST, batch(2, 3 * TURN_LINK_BYTES))
  assert.deepEqual(
    handed.map(({ kinds }) => kinds),
    [[0], [1]],
  )
})

test('what goes wrong is told to the link, at once or later, and the rest is not handed over', async () => {
  const refusal = new ParleyError('malformed', 'not this one')
  const early = node(TURN_MS, ({ kind }) => (kind === 0 ? refusal : undefined))
  assert.throws(() => early.hear(EAST, batch(8, TURN_LINK_BYTES)), refusal)
  assert.deepEqual(early.pass(), [])
  const broken = new Error('a fault of ours')
  const late = node(TURN_MS, ({ kind }) => (kind === 2 ? broken : undefined))
  const told = assert.rejects(Promise.resolve(late.hear(EAST, batch(8, TURN_LINK_BYTES))), { code: 'overloaded' })
  for (let i = 0; i < 10; i++) late.pass()
  await told
  assert.deepEqual(late.faults, [broken])
})

test('of a link that has gone nothing more is handed over', async () => {
  const { hear, handed, down, downs, pass } = node(TURN_MS)
  const rest = hear(EAST, batch(4, TURN_LINK_BYTES))
  down(EAST)
  assert.deepEqual(downs, [EAST])
  hear(EAST, batch(1, 100, 50))
  handed.splice(0)
  assert.deepEqual([pass(), pass(), pass()].flat(), [{ region: EAST, kinds: [50] }])
  await rest
})
