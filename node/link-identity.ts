// Who is at the other end of a link: a certificate that chains to a region, for exactly the key that the connection
// authenticated, and neither replaced nor revoked since.
import { type Clock, type LinkHello, openNodeCertificate, ParleyError, type Region, type RegionId } from '#protocol'
import type { PeerStream, RegionBook } from './link-network.ts'
import type { Admission } from './types.ts'

export type PeerIdentity = {
  readonly peerId: string
  readonly region: RegionId
  readonly rootEpoch: number
  readonly signedBy: Uint8Array
  readonly nodeKey: Uint8Array
  readonly bootNonce: string
}

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/** Throws the ParleyError with which the peer is refused. */
export function identify(
  stream: PeerStream,
  hello: LinkHello,
  options: { readonly admission: Admission; readonly book: RegionBook; readonly clock: Clock },
): PeerIdentity {
  const { admission, book, clock } = options
  if (!hello.certificate) throw new ParleyError('not_admitted', 'links are for nodes of a region: no certificate')
  const certificate = openNodeCertificate(hello.certificate, clock.now())
  if (!same(certificate.nodeKey, stream.peerKey))
    throw new ParleyError('not_granted', 'the certificate is for another node')
  const identity = {
    peerId: stream.peerId,
    region: certificate.regionId,
    rootEpoch: certificate.rootEpoch,
    signedBy: hello.certificate.publicKey,
    nodeKey: certificate.nodeKey,
    bootNonce: Buffer.from(hello.bootNonce).toString('latin1'),
  }
  const error = outdated(identity, book.knownRegion(identity.region), book.rootEpoch(identity.region))
  if (error) throw error
  if (!admission.admits(identity)) throw new ParleyError('not_admitted', 'this region is not admitted here')
  book.noteRootEpoch(identity.region, identity.rootEpoch)
  return identity
}

/** What is wrong with an identity by what is known of its region now. */
export function outdated(
  identity: PeerIdentity,
  known: Region | undefined,
  rootEpochSeen: number,
): ParleyError | undefined {
  const newest = Math.max(known?.rootEpoch ?? 0, rootEpochSeen)
  if (identity.rootEpoch < newest) {
    const facts = { rootEpoch: `${identity.rootEpoch}`, newest: `${newest}` }
    return new ParleyError('too_old', 'a certificate of a root epoch that was replaced', facts)
  }
  const revoked = known?.revokedKeys.some((key) => same(key, identity.signedBy) || same(key, identity.nodeKey))
  return revoked ? new ParleyError('not_granted', 'the certificate rests on a revoked key') : undefined
}
