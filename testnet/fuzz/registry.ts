// Every decoder of every folder.
import type { Decoder } from '#protocol/decoders'

export const FOLDERS = {
  protocol: () => import('#protocol/decoders'),
  crypto: () => import('#crypto/decoders'),
  node: () => import('#node/decoders'),
  relay: () => import('#relay/decoders'),
  client: () => import('#client/decoders'),
  bootstrap: () => import('#bootstrap/decoders'),
} as const satisfies Record<string, () => Promise<{ decoders(): readonly Decoder[] | Promise<readonly Decoder[]> }>>

export type Folder = keyof typeof FOLDERS

export async function decodersOf(folder: Folder): Promise<readonly Decoder[]> {
  return (await FOLDERS[folder]()).decoders()
}

export async function allDecoders(): Promise<Decoder[]> {
  const lists = await Promise.all((Object.keys(FOLDERS) as Folder[]).map(decodersOf))
  return lists.flat()
}
