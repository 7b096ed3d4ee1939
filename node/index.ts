// The libp2p host: keys, transports, connection policy, DHT directory, links between nodes.
export type { RequestMethod } from './limits.ts'
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
