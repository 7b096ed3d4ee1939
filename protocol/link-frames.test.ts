import assert from 'node:assert/strict'
import { it } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { chainHash, KIND_SKIP, writeEntry } from './entry.ts'
import { filled } from './fixtures.ts'
import { ItemKind, LinkFrameSchema, LogSchema } from './gen/link_pb.ts'
import { LINK_BATCH_ITEMS_MAX, LINK_BATCH_MAX_BYTES } from './limits.ts'
import { decodeItem, decodeLinkFrame, encodeItem, encodeLinkFrame } from './link-frames.ts'
import { positionOf } from './position.ts'
import { HEADER } from './vector-basics.ts'

it('an item holds as many bare headers as fit its bytes', () => {
  const skip = (n: number) => writeEntry({ ...HEADER, kind: KIND_SKIP, at: positionOf(1, n), k: n }, [])
  const count = Math.floor((LINK_BATCH_MAX_BYTES - 64) / (skip(1).length + 2))
  const entry = Array.from({ length: count }, (_, index) => skip(index + 1))
  const headHash = chainHash(filled(32, 0), entry.at(-1)!)
  const body = encodeItem({ kind: ItemKind.LOG, value: create(LogSchema, { entry, headHash }) })
  const item = decodeItem(ItemKind.LOG, body)
  assert.ok(item.kind === ItemKind.LOG && item.value.entry.length === count)
})

it('a batch holds exactly as many names and items as the limit says', () => {
  const frame = (count: number) => {
    const items = Array.from({ length: count }, () => ({ ref: 1, kind: 2, body: filled(1, 1) }))
    return encodeLinkFrame(create(LinkFrameSchema, { what: { case: 'batch', value: { number: 1, items } } }))
  }
  decodeLinkFrame(frame(LINK_BATCH_ITEMS_MAX))
  assert.throws(() => decodeLinkFrame(frame(LINK_BATCH_ITEMS_MAX + 1)), { code: 'too_many' })
})
