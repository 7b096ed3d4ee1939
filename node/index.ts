// The libp2p host: keys, transports, connection policy, DHT directory, links between nodes. What a region signs is an entry
// of its own (#node/region): commands that only write files load no mesh.
export { usableAddress } from './addresses.ts'
export { loadOrCreateNodeKey } from './key.ts'
export type { RequestMethod } from './limits.ts'
export type { LinkNetwork, PeerStream, RegionBook, StreamEvents } from './link-network.ts'
export { LinkKeeper, type LinksOptions } from './links.ts'
export { openAdmission, silentEvents, startNode } from './node.ts'
export { memoryStorage, openLevelStorage } from './storage.ts'
export type {
  Admission,
  Directory,
  LinkHandlers,
  LinkItem,
  Links,
  NodeEvents,
  NodeOptions,
  NodeStorage,
  ParleyNode,
  PublishResult,
  RecordKind,
  Renewal,
  Requester,
  RequestHandler,
} from './types.ts'
