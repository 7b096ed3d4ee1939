// Vectors: what two implementations must agree on, as data. Made here from fixed seeds; `write-vectors.ts` writes them.
import { makeCast } from './fixtures.ts'
import { entryVectors, genesisVectors, idVectors } from './vector-basics.ts'
import type { VectorFile } from './vector-file.ts'
import { deviceFrameVectors, homeFrameVectors } from './vector-frames.ts'
import { itemVectors, linkFrameVectors } from './vector-links.ts'
import { closedVectors, hostRegisterVectors } from './vector-moves.ts'
import { grantVectors, homeVectors, manifestVectors } from './vector-records.ts'
import { certificateVectors, prekeyVectors, regionVectors } from './vector-regions.ts'
import { signInVectors } from './vector-sign-in.ts'

export const VECTOR_SEED = 20_261_122

/** File name without its ending → content. */
export function makeVectors(): Record<string, VectorFile> {
  const cast = makeCast(VECTOR_SEED)
  return {
    ids: idVectors(cast),
    genesis: genesisVectors(cast),
    entries: entryVectors(cast),
    grants: grantVectors(cast),
    manifests: manifestVectors(cast),
    'home-records': homeVectors(cast),
    'region-records': regionVectors(cast),
    'node-certificates': certificateVectors(cast),
    closed: closedVectors(cast),
    'host-registers': hostRegisterVectors(cast),
    prekeys: prekeyVectors(cast),
    'sign-in': signInVectors(cast),
    'device-frames': deviceFrameVectors(cast),
    'home-frames': homeFrameVectors(cast),
    'link-frames': linkFrameVectors(cast),
    items: itemVectors(cast),
  }
}

export const vectorText = (file: VectorFile): string => `${JSON.stringify(file, null, 1)}\n`
