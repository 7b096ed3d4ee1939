// A region of a test: keys of its own, and the word that lets them speak for it.
import { create } from '@bufbuild/protobuf'
import {
  GrantBody_Purpose,
  GrantBodySchema,
  grant,
  type Random,
  type RegionSigner,
  regionIdOfRootKey,
  signingKey,
} from '#protocol'

export function testRegion(random: Random): RegionSigner {
  const root = signingKey(random.bytes(32))
  const operational = signingKey(random.bytes(32))
  const purpose = GrantBody_Purpose.OPERATIONAL
  const body = create(GrantBodySchema, { purpose, key: operational.publicKey, rootEpoch: 1, notAfterMs: 0n })
  return { regionId: regionIdOfRootKey(root.publicKey), operational, grant: grant(body, root) }
}
