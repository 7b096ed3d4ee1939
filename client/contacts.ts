// Contacts as a person sees them.
import type { UserId } from '#protocol'
import { storedHome } from './rules/people.ts'
import { all, type ContactRow, type DbReader } from './rules/schema.ts'

export type Contact = {
  readonly user: UserId
  readonly name: string
  readonly accepted: boolean
  readonly verified: boolean
  /** Empty until the person has been looked up. */
  readonly homeRegion: string
  readonly devices: number
}

function seen(db: DbReader, row: ContactRow): Contact {
  const { user, name, accepted, verified } = row
  const devices = all(db, 'devices', user).filter(({ gone }) => !gone).length
  return { user, name, accepted, verified, homeRegion: storedHome(row.home)?.homeRegion ?? '', devices }
}

export function listContacts(db: DbReader, self: UserId): Contact[] {
  return all(db, 'contacts')
    .filter(({ user }) => user !== self)
    .map((row) => seen(db, row))
}

export function contactOf(db: DbReader, user: UserId): Contact | undefined {
  const row = db.get('contacts', [user])
  return row && seen(db, row)
}
