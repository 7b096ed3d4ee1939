// Attacks on the mesh port: by whoever can open a socket there, by a DHT peer, by a region.

import { toBinary } from '@bufbuild/protobuf'
import { createAccount } from '#crypto'
import { memoryStorage, openAdmission, silentEvents, startNode } from '#node'
import { hostilePeer } from '#node/hostile'
import { certifyNode, createRegionRoot, grantOperationalKey, regionKeys } from '#node/region'
import {
  countersign,
  decode,
  HomeRecordSchema,
  ItemKind,
  limits,
  openRegionRecord,
  type ParleyError,
  SignedRecordSchema,
  signingKey,
  systemClock,
  systemRandom,
  userIdBytes,
} from '#protocol'
import { type Attack, holdSockets, over, pause } from './attack.ts'

const HALF_OPEN = 2_000
const STREAMS = 256
const DAY_MS = 86_400_000

export const halfOpen: Attack = {
  id: 'half-open',
  title: '2,000 connections to the mesh port that never shake hands',
  p99Factor: 2,
  honest: 'between',
  async prepare({ north }) {
    return async (stopped) => {
      const faults: string[] = []
      let joined = 0
      const honest = over(stopped, 1, async () => {
        await pause(1_000)
        await using peer = await hostilePeer()
        await peer.connect(north.multiaddr).then(
          () => joined++,
          (error: Error) => faults.push(`an honest node could not connect: ${error.message.slice(0, 120)}`),
        )
      })
      const { mostOpen, dialled } = await holdSockets(
        stopped,
        { host: north.host, port: north.meshPort },
        HALF_OPEN,
        () => undefined,
      )
      await honest
      return {
        did: `${dialled} dialled, ${mostOpen} open at once; ${joined} honest nodes joined`,
        times: dialled,
        faults: faults.slice(0, 3),
      }
    }
  },
}

export const manyStreams: Attack = {
  id: 'many-streams',
  title: '256 streams on a connection, and again',
  p99Factor: 2,
  honest: 'between',
  async prepare({ north }) {
    return async (stopped) => {
      let [opened, connections] = [0, 0]
      await over(stopped, 3, async () => {
        await using peer = await hostilePeer()
        peer.mode = 'silent'
        await peer.connect(north.multiaddr).catch(() => undefined)
        opened += await peer.streams(north.peerId, STREAMS)
        connections++
        await Promise.race([stopped.promise, pause(3_000)])
      })
      return { did: `${opened} streams on ${connections} connections`, times: opened }
    }
  },
}

function ownRegion() {
  const root = createRegionRoot(systemRandom).secret
  const secret = systemRandom.bytes(32)
  const by = grantOperationalKey(root, signingKey(secret).publicKey, 1, systemClock.now() + 30 * DAY_MS)
  return regionKeys(secret, by)
}

/** Home records of people who live nowhere, each valid. */
export const dhtPuts: Attack = {
  id: 'dht-puts',
  title: '100,000 records put into the DHT by a stranger',
  p99Factor: 2,
  honest: 'within',
  async prepare({ north, full }) {
    const keys = ownRegion()
    const count = full ? 100_000 : 3_000
    const records = Array.from({ length: count }, () => {
      const root = signingKey(systemRandom.bytes(32))
      const { head, account } = createAccount(root, { homeRegion: keys.regionId, fallbackRegions: [] }, systemRandom)
      const now = systemClock.now()
      const record = countersign(head, keys.regionId, keys.operational, keys.grant, now, now + DAY_MS)
      const key = new Uint8Array(Buffer.concat([Buffer.from('/home/'), userIdBytes(account.userId)]))
      return { key, value: toBinary(HomeRecordSchema, record) }
    })
    const peer = await hostilePeer()
    await peer.connect(north.multiaddr)
    return async (stopped) => {
      let [next, stored] = [0, 0]
      await over(stopped, 32, async () => {
        const { key, value } = records[next++ % records.length]!
        if (await peer.put(north.peerId, key, value)) stored++
      })
      await peer[Symbol.asyncDispose]()
      return { did: `${next} puts, ${stored} stored`, times: stored }
    }
  },
}

/** A node of a region of its own that sends junk over its link. */
export const floodingRelay: Attack = {
  id: 'flooding-relay',
  title: 'a relay that floods its link with items that are none',
  p99Factor: 1.5,
  honest: 'within',
  async prepare({ north }) {
    const keys = ownRegion()
    const key = systemRandom.bytes(32)
    const node = await startNode({
      key,
      listen: { host: '127.0.0.1', port: 0 },
      announce: [],
      bootstrap: [north.multiaddr],
      mode: 'client',
      storage: memoryStorage(),
      clock: systemClock,
      random: systemRandom,
      admission: openAdmission,
      certificate: certifyNode(keys, signingKey(key).publicKey, 0),
      renewal: undefined,
      events: silentEvents,
    })
    const answer = (await (await fetch(`${north.origin}/v1/region`)).json()) as { record: string }
    const record = decode(SignedRecordSchema, Buffer.from(answer.record, 'base64'), 2 * limits.RECORD_MAX_BYTES)
    const { regionId } = openRegionRecord(record, systemClock.now())
    node.directory.learnRegionRecord(record)
    let [ups, downs] = [0, 0]
    const reasons = new Set<string>()
    node.links.serve({
      up: () => void ups++,
      down: (_region, _peer, error: ParleyError | undefined) => {
        downs++
        if (error) reasons.add(error.code)
      },
      items: () => undefined,
    })
    node.links.want(regionId)
    return async (stopped) => {
      let sent = 0
      const body = systemRandom.bytes(512)
      await over(stopped, 1, async () => {
        for (let i = 0; i < 64; i++)
          if (
            node.links.send(regionId, { id: systemRandom.bytes(32), kind: 1 + (sent % ItemKind.REGISTERS_STATE), body })
          )
            sent++
        await pause(1)
      })
      await node[Symbol.asyncDispose]()
      const faults = downs === 0 ? ['its link was never cut'] : []
      return {
        did: `${sent} items, link up ${ups} times, cut ${downs} times (${[...reasons].join(', ')})`,
        times: sent,
        faults,
      }
    }
  },
}
