// The readers that are written by hand, each beside the generated one: equal values, or refusals with the same code.
import { type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf'
import { encodeContent, readContent } from './content-codec.ts'
import type { Decoder } from './decoder.ts'
import { readDeviceFrame } from './device-frame-codec.ts'
import { makeContents } from './fixtures.ts'
import { ContentSchema } from './gen/content_pb.ts'
import {
  ItemKind,
  LinkFrameSchema,
  LogSchema,
  LogStateSchema,
  SafeSchema,
  SubmissionStateSchema,
  SubmissionsSchema,
} from './gen/link_pb.ts'
import { DeviceFrameSchema, HomeFrameSchema } from './gen/session_pb.ts'
import { readHomeFrame } from './home-frame-codec.ts'
import { readLog, readLogState, readSafe, readSubmissionState, readSubmissions } from './item-codec.ts'
import {
  CONTENT_MAX_BYTES,
  FRAME_ITEMS_MAX,
  FRAME_MAX_BYTES,
  LINK_BATCH_ITEMS_MAX,
  LINK_BATCH_MAX_BYTES,
  LINK_FRAME_MAX_BYTES,
  LINK_ITEM_FIELDS_MAX,
  SUBMISSION_STATE_MAX_BYTES,
} from './limits.ts'
import { readLinkFrame } from './link-frame-codec.ts'
import { bytesOf } from './vector-file.ts'
import { makeVectors } from './vectors.ts'
import { decode, ensureSize } from './wire.ts'

function twins<T extends DescMessage>(
  read: (bytes: Uint8Array, itemsMax: number) => MessageShape<T>,
  of: {
    file: string
    schema: T
    /** A file of vectors, or examples of its own. */
    vectors: string | (() => Uint8Array[])
    kind?: number
    inside?: string
    maxBytes: number
    maxItems: number
  },
): Decoder<MessageShape<T>> {
  const { file, inside, schema, vectors, kind, maxBytes, maxItems } = of
  return {
    name: `protocol/${read.name}`,
    covers: [`${file} ${read.name}`, ...(inside === undefined ? [] : [inside])],
    maxBytes,
    memoryFactor: COUNTED_MEMORY_FACTOR,
    examples: () =>
      typeof vectors === 'function'
        ? vectors()
        : makeVectors()
            [vectors]!.cases.filter((vector) => !vector.error && (kind === undefined || vector.kind === kind))
            .map(bytesOf),
    decode(bytes) {
      ensureSize(schema.typeName, bytes, maxBytes)
      return read(bytes, maxItems)
    },
    encode: (value) => toBinary(schema, value),
    twin: (bytes) => decode(schema, bytes, maxBytes, maxItems),
  }
}

/** Frames and items of many small parts: their number is limited, not what the objects for them take. */
export const COUNTED_MEMORY_FACTOR = 12

export function codecDecoders(): Decoder[] {
  const frame = { maxBytes: FRAME_MAX_BYTES, maxItems: FRAME_ITEMS_MAX }
  const item = {
    vectors: 'items',
    file: 'item-codec.ts',
    maxBytes: LINK_BATCH_MAX_BYTES,
    maxItems: LINK_ITEM_FIELDS_MAX,
  }
  return [
    twins(readDeviceFrame, {
      ...frame,
      file: 'device-frame-codec.ts',
      schema: DeviceFrameSchema,
      vectors: 'device-frames',
    }),
    twins(readHomeFrame, { ...frame, file: 'home-frame-codec.ts', schema: HomeFrameSchema, vectors: 'home-frames' }),
    twins(readContent, {
      file: 'content-codec.ts',
      inside: 'content-codec.ts decodeContent',
      schema: ContentSchema,
      vectors: () => makeContents().map(encodeContent),
      maxBytes: CONTENT_MAX_BYTES,
      maxItems: FRAME_ITEMS_MAX,
    }),
    twins(readSubmissions, {
      ...item,
      inside: 'submission-codec.ts readSubmission',
      schema: SubmissionsSchema,
      kind: ItemKind.SUBMISSIONS,
    }),
    twins(readLog, { ...item, schema: LogSchema, kind: ItemKind.LOG }),
    twins(readLogState, { ...item, schema: LogStateSchema, kind: ItemKind.LOG_STATE }),
    twins(readSafe, { ...item, schema: SafeSchema, kind: ItemKind.SAFE }),
    twins(readSubmissionState, {
      ...item,
      schema: SubmissionStateSchema,
      kind: ItemKind.SUBMISSION_STATE,
      maxBytes: SUBMISSION_STATE_MAX_BYTES,
    }),
    twins(readLinkFrame, {
      file: 'link-frame-codec.ts',
      schema: LinkFrameSchema,
      vectors: 'link-frames',
      maxBytes: LINK_FRAME_MAX_BYTES,
      maxItems: LINK_BATCH_ITEMS_MAX,
    }),
  ]
}
