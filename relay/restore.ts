// A region goes on from an old backup of its store, or from an empty one, because there is nothing newer. What it says from
// then on is of another life: what it hosted begins anew, behind what other regions have, when its people come home.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, ParleyError, type Random, type RegionId } from '#protocol'
import type { RelayConfig } from './config.ts'
import { BOOT_ID_BYTES } from './limits.ts'
import { beginNextLife, lateHooks } from './rules.ts'
import { readSecrets } from './secrets.ts'
import { openLevel } from './store/level.ts'
import { openStore } from './store/store.ts'

export type RestoredRelay = {
  readonly regionId: RegionId
  readonly store: string
  /** How often the region has begun, this time included. */
  readonly life: number
}

export const storeOf = (config: RelayConfig): string => join(config.dataDir, 'store')

/** Beside the store, since it speaks of it when it is lost: the life of the newest one that this region has had. */
const markOf = (config: RelayConfig): string => join(config.dataDir, 'begun')

async function markedLife(config: RelayConfig): Promise<number | undefined> {
  const text = await readFile(markOf(config), 'utf8').catch(() => undefined)
  return text === undefined ? undefined : Number.parseInt(text, 10) || 1
}

// On a full disk it is missing or old, and only other regions can tell.
const mark = (config: RelayConfig, life: number): Promise<void> =>
  writeFile(markOf(config), `${life}\n`).catch(() => undefined)

/** Not while the relay runs (`store_in_use`). Durable when it resolves. Throws `store_damaged`, `not_found` for keys. */
export async function restoreRelay(config: RelayConfig, clock: Clock, random: Random): Promise<RestoredRelay> {
  const { keys } = await readSecrets(config.dataDir, clock.now())
  const directory = storeOf(config)
  // What the journal says is owed to others is read again by the relay: nothing of it goes. A store that fails says so to
  // whoever waits for the commit.
  const { hooks } = lateHooks(() => undefined)
  const backend = await openLevel({ directory, bootId: random.bytes(BOOT_ID_BYTES) })
  await using store = (await openStore({ backend, hooks, clock })).store
  const life = await beginNextLife(store, (await markedLife(config)) ?? 1)
  await mark(config, life)
  return { regionId: keys.regionId, store: directory, life }
}

/** A store that is empty though the region has had one was lost. */
export async function ensureNotLost(config: RelayConfig, committed: number): Promise<void> {
  if (committed === 0 && (await markedLife(config)) !== undefined) {
    throw new ParleyError('old_backup', `the store in ${storeOf(config)} is empty, and this region has had one`, {
      store: storeOf(config),
    })
  }
}

/** To be called once something was committed: a start that ended before has had no store to lose. */
export async function markBegun(config: RelayConfig): Promise<void> {
  if ((await markedLife(config)) === undefined) await mark(config, 1)
}
