// What the client port needs from the rest of the relay.
import type {
  Clock,
  ConvId,
  DeviceKey,
  ParleyError,
  Position,
  PrekeyBundle,
  Random,
  RegionId,
  SignedRecord,
  SigningKey,
  UserId,
} from '#protocol'
import type { Account, Accounts } from '../accounts/accounts.ts'
import type { Prekeys } from '../accounts/prekeys.ts'
import type { Relay } from '../rules/ports.ts'

export type GatewayEvents = {
  socketRefused(code: string): void
  signedIn(user: UserId, device: number): void
  signInRefused(error: ParleyError): void
  sessionEnded(user: UserId, device: number, error: ParleyError | undefined): void
  answered(status: number): void
  fault(where: string, error: unknown): void
}

/** Who this node is. */
export type Identity = {
  readonly regionId: RegionId
  readonly regionName: string
  readonly nodeKey: SigningKey
  readonly certificate: SignedRecord
  /** 16 bytes, new at every start. */
  readonly bootId: Uint8Array
}

export type Reader = { readonly userId: UserId; readonly device: DeviceKey }

/** Users of any region. */
export type People = {
  /** Home record and manifest that belong together, the newest that can be had; `undefined`: nobody has that id. */
  find(user: UserId): Promise<Account | undefined>
  /** From the user's home. Throws what that home answers, or `unknown_user`, `unreachable`. */
  bundle(target: UserId, device: number, requester: UserId): Promise<PrekeyBundle>
}

export type EntryPage = { readonly entries: readonly Uint8Array[]; readonly head: Position }

/** Committed entries after a place, with the parts for this reader. Throws `not_member`, `unknown_conversation`. */
export type ReadEntries = (reader: Reader, conv: ConvId, after: Position, maxBytes: number) => Promise<EntryPage>

export type GatewayParts = {
  readonly identity: Identity
  readonly clock: Clock
  readonly random: Random
  readonly events: GatewayEvents
  readonly accounts: Accounts
  readonly prekeys: Prekeys
  readonly people: People
  readonly relay: () => Relay
  readonly readEntries: ReadEntries
  readonly regionRecord: () => SignedRecord | undefined
  readonly metrics: () => Promise<string>
  /** Undefined when all is well, else what is wrong, in one line without ids. */
  readonly trouble: () => string | undefined
}

export type GatewayOptions = {
  readonly listen: { readonly host: string; readonly port: number }
  /** Origins under which clients reach this node; empty: the address listened on. */
  readonly urls: readonly string[]
  /** Origins of browser pages that may connect. */
  readonly allowedOrigins: readonly string[]
  /** Take the client's address from X-Forwarded-For: only behind a proxy that sets it. */
  readonly trustProxy: boolean
  /** Undefined: no TLS here. */
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined
}
