// A pair over a server that passes frames on: a message goes to the other socket and comes back from there.
import { systemRandom } from '#protocol'
import { u32 } from './codec.ts'
import { RAW_FRAME_BYTES } from './limits.ts'
import { type Lane, Pair } from './pair.ts'
import type { Tally } from './tally.ts'
import { dialLean, type LeanWebSocket } from './web-socket.ts'

export type RawPair = { readonly pair: Pair; readonly lane: Lane; close(): void }

export async function makeRawPair(origin: string, number: number, tally: Tally): Promise<RawPair> {
  const pair = new Pair(tally, ['received', 'sequenced'])
  const url = new URL(`/pair/${number}`, origin.replace(/^http/, 'ws'))
  const closed = (reason: string): void => tally.fault(`a socket was lost: ${reason}`)
  let echoed = false
  const reader: LeanWebSocket = await dialLean(url, 'raw', {
    message(bytes, from, to) {
      pair.onReceived(u32(bytes, from))
      reader.send(bytes.subarray(from, to))
      if (echoed) return
      echoed = true
      queueMicrotask(() => {
        echoed = false
        reader.flush()
      })
    },
    closed,
  })
  let turn = false
  const author = await dialLean(url, 'raw', {
    message(bytes, from) {
      pair.onSequenced(u32(bytes, from))
      if (turn) return
      turn = true
      queueMicrotask(() => {
        turn = false
        pair.onTurn()
      })
    },
    closed,
  })
  const body = systemRandom.bytes(RAW_FRAME_BYTES)
  const lane: Lane = {
    submit(from, to) {
      for (let k = from; k <= to; k++) {
        Buffer.from(body.buffer).writeUInt32BE(k)
        author.send(body)
      }
      author.flush()
    },
  }
  return {
    pair,
    lane,
    close() {
      author.close()
      reader.close()
    },
  }
}
