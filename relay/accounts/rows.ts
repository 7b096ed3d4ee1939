// Where accounts lie in the store, and in which bytes.
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  type DeviceKey,
  type HomeRecord,
  HomeRecordSchema,
  type Prekey,
  PrekeySchema,
  type SignedRecord,
  SignedRecordSchema,
  type UserId,
} from '#protocol'
import { oweTelling } from '../rules/former-homes.ts'
import type { FormerHome } from '../rules/ports.ts'
import type { Store } from '../store/types.ts'
import type { Shelf } from './shelf.ts'

export type Pile = 'ec' | 'kyber'

const partition = (user: UserId) => `user/${user}`
const deviceName = (device: DeviceKey) => `${device.device}.${device.registrationEpoch}.${device.registrationVersion}`
const prekeyName = (pile: Pile, device: number, id: number) => `${pile}/${device}/${id.toString(16).padStart(8, '0')}`

/** Typed access to the rows of accounts. Writes are pending until the store's commit. */
export function accountRows(store: Store) {
  return {
    async records(user: UserId): Promise<{ home: HomeRecord; manifest: SignedRecord } | undefined> {
      const [home, manifest] = await Promise.all([
        store.get(partition(user), 'home'),
        store.get(partition(user), 'manifest'),
      ])
      if (!home || !manifest) return undefined
      return { home: fromBinary(HomeRecordSchema, home), manifest: fromBinary(SignedRecordSchema, manifest) }
    },
    putHome(user: UserId, home: HomeRecord): void {
      store.put(partition(user), 'home', toBinary(HomeRecordSchema, home))
    },
    putManifest(user: UserId, manifest: SignedRecord): void {
      store.put(partition(user), 'manifest', toBinary(SignedRecordSchema, manifest))
    },
    /** Somebody lives elsewhere now; what is kept for a return, as counters, stays. */
    deleteAccount(user: UserId, former: FormerHome | undefined): void {
      for (const name of ['home', 'manifest', 'former']) store.delete(partition(user), name)
      if (former) store.put(partition(user), 'left-former', Buffer.from(JSON.stringify(former)))
      else store.delete(partition(user), 'left-former')
    },
    /** Where somebody who has left had lived before they came: what they had there may never have come. */
    async leftFormer(user: UserId): Promise<FormerHome | undefined> {
      const bytes = await store.get(partition(user), 'left-former')
      return bytes ? (JSON.parse(Buffer.from(bytes).toString()) as FormerHome) : undefined
    },
    async former(user: UserId): Promise<FormerHome | undefined> {
      const bytes = await store.get(partition(user), 'former')
      return bytes ? (JSON.parse(Buffer.from(bytes).toString()) as FormerHome) : undefined
    },
    putFormer(user: UserId, former: FormerHome): void {
      store.put(partition(user), 'former', Buffer.from(JSON.stringify(former)))
    },
    /** In the commit in which somebody comes to live here. */
    oweTelling(user: UserId, former: FormerHome): void {
      oweTelling(store, user, former, former.generation + 1)
    },
    /** The life of the store in which the account came here. */
    async life(user: UserId): Promise<number> {
      const bytes = await store.get(partition(user), 'life')
      return bytes ? Buffer.from(bytes).readUInt32BE() : 1
    },
    putLife(user: UserId, life: number): void {
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32BE(life)
      store.put(partition(user), 'life', bytes)
    },
    async sessionCounter(user: UserId, device: DeviceKey): Promise<bigint> {
      const bytes = await store.get(partition(user), `session/${deviceName(device)}`)
      return bytes ? Buffer.from(bytes).readBigUInt64BE() : 0n
    },
    putSessionCounter(user: UserId, device: DeviceKey, counter: bigint): void {
      const bytes = Buffer.alloc(8)
      bytes.writeBigUInt64BE(counter)
      store.put(partition(user), `session/${deviceName(device)}`, bytes)
    },
    async shelf(user: UserId, device: number): Promise<Shelf | undefined> {
      const bytes = await store.get(partition(user), `shelf/${device}`)
      return bytes ? (JSON.parse(Buffer.from(bytes).toString()) as Shelf) : undefined
    },
    putShelf(user: UserId, device: number, shelf: Shelf | undefined): void {
      if (shelf) store.put(partition(user), `shelf/${device}`, Buffer.from(JSON.stringify(shelf)))
      else store.delete(partition(user), `shelf/${device}`)
    },
    async lasting(user: UserId, device: number, which: 'signed' | 'last-resort'): Promise<Prekey> {
      const bytes = await store.get(partition(user), `${which}/${device}`)
      if (!bytes) throw new Error(`a shelf without its ${which} prekey`)
      return fromBinary(PrekeySchema, bytes)
    },
    putLasting(user: UserId, device: number, which: 'signed' | 'last-resort', prekey: Prekey): void {
      store.put(partition(user), `${which}/${device}`, toBinary(PrekeySchema, prekey))
    },
    async prekey(user: UserId, pile: Pile, device: number, id: number): Promise<Prekey> {
      const bytes = await store.get(partition(user), prekeyName(pile, device, id))
      if (!bytes) throw new Error('a prekey that the shelf lists is not in the store')
      return fromBinary(PrekeySchema, bytes)
    },
    putPrekey(user: UserId, pile: Pile, device: number, prekey: Prekey): void {
      store.put(partition(user), prekeyName(pile, device, prekey.id), toBinary(PrekeySchema, prekey))
    },
    deletePrekey(user: UserId, pile: Pile, device: number, id: number): void {
      store.delete(partition(user), prekeyName(pile, device, id))
    },
    flushed: () => store.flushed(),
    hasRoom: () => store.hasRoom(),
  }
}

export type AccountRows = ReturnType<typeof accountRows>
