// The libp2p host: keys, transports, connection policy, DHT directory, links between nodes.
export { loadOrCreateNodeKey } from './key.ts'
export type { RequestMethod } from './limits.ts'
export type { LinkNetwork, PeerStream, RegionBook, StreamEvents } from './link-network.ts'
export { LinkKeeper, type LinksOptions } from './links.ts'
export { openAdmission, silentEvents, startNode } from './node.ts'
export {
  certifyNode,
  createRegionRoot,
  grantOperationalKey,
  nextRegionRecord,
  type RegionDescription,
  type RegionKeys,
  regionKeys,
  signRegionRecord,
} from './region.ts'
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
