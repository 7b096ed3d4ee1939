import type { Attack } from './attack.ts'
import { dhtPuts, floodingRelay, halfOpen, manyStreams } from './attacks-mesh.ts'
import { floodingDevice, stalledReaders } from './attacks-people.ts'
import { idleSessions, idleSockets, reconnects, slowHeaders, tinyFragments } from './attacks-sockets.ts'

export const ATTACKS: readonly Attack[] = [
  idleSockets,
  idleSessions,
  slowHeaders,
  tinyFragments,
  reconnects,
  stalledReaders,
  floodingDevice,
  halfOpen,
  manyStreams,
  dhtPuts,
  floodingRelay,
]
