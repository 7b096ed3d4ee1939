// A profile directory: the encrypted database, and beside it, readable, how its key comes from the passphrase.
// The lock is the database's own (exclusive), so a process that was killed never leaves one behind.
import { argon2, randomBytes } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import Database, { setLogger } from '@signalapp/sqlcipher'
import { ParleyError } from '#protocol'
import { ARGON2_LANES, ARGON2_MEMORY_KIB, ARGON2_PASSES, PARAMETERS_MAX_BYTES } from '../limits.ts'
import type { DeviceDb } from '../rules/schema.ts'
import { LAYOUT_VERSION, layoutOf, migrate } from './migrations.ts'
import { sqlDb } from './sql-db.ts'

const DATABASE = 'profile.db'
const PARAMETERS = 'profile.json'
const KEY_BYTES = 32
const NONCE_BYTES = 16
const FORMAT = 1

// A wrong passphrase is an answer, not something to print.
setLogger(() => undefined)

type Parameters = {
  readonly format: number
  readonly kdf: 'argon2id'
  readonly nonce: string
  readonly memoryKib: number
  readonly passes: number
  readonly lanes: number
}

export type ProfileFile = Disposable & {
  readonly directory: string
  readonly db: DeviceDb
  /** A new profile can be opened again from then on; what was never kept counts as not there. */
  readonly keep: () => Promise<void>
}

export function profileExists(directory: string): boolean {
  return existsSync(join(directory, PARAMETERS))
}

function deriveKey(passphrase: string, { nonce, memoryKib, passes, lanes }: Parameters): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const options = {
      message: passphrase.normalize('NFKC'),
      nonce: Buffer.from(nonce, 'base64'),
      memory: memoryKib,
      passes,
      parallelism: lanes,
      tagLength: KEY_BYTES,
    }
    argon2('argon2id', options, (error, key) => (error ? reject(error) : resolve(key)))
  })
}

async function readParameters(directory: string): Promise<Parameters> {
  if (!profileExists(directory)) {
    throw new ParleyError('no_such_profile', `there is no profile in ${directory}`, { profile: directory })
  }
  return parseParameters(await readFile(join(directory, PARAMETERS)).catch(() => Buffer.alloc(0)), directory)
}

export function parseParameters(bytes: Uint8Array, directory: string): Parameters {
  try {
    if (bytes.length > PARAMETERS_MAX_BYTES) throw new TypeError()
    const read = JSON.parse(new TextDecoder().decode(bytes)) as Parameters
    const { nonce, memoryKib, passes, lanes } = read
    const sane = [memoryKib, passes, lanes].every((value) => Number.isSafeInteger(value) && value > 0)
    if (read.format !== FORMAT || read.kdf !== 'argon2id' || typeof nonce !== 'string' || !sane) throw new TypeError()
    // A file that somebody tampered with must not make this process take all memory.
    if (memoryKib > 16 * ARGON2_MEMORY_KIB || passes > 64 || lanes > 64) throw new TypeError()
    return read
  } catch {
    throw new ParleyError('malformed', `${PARAMETERS} of this profile cannot be read`, { profile: directory })
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(`${path}.new`, path)
}

/** Makes an empty profile, to be kept when it is worth it. `already_registered`, `profile_in_use`. */
export async function createProfileFile(directory: string, passphrase: string): Promise<ProfileFile> {
  if (profileExists(directory)) {
    throw new ParleyError('already_registered', `there is a profile in ${directory} already`, { profile: directory })
  }
  const parameters: Parameters = {
    format: FORMAT,
    kdf: 'argon2id',
    nonce: randomBytes(NONCE_BYTES).toString('base64'),
    memoryKib: ARGON2_MEMORY_KIB,
    passes: ARGON2_PASSES,
    lanes: ARGON2_LANES,
  }
  const key = await deriveKey(passphrase, parameters)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  removeUnkept(directory)
  return openDatabase(directory, key, () =>
    writeDurably(join(directory, PARAMETERS), `${JSON.stringify(parameters, undefined, 2)}\n`),
  )
}

/** What an interrupted creation left. One that is still going on holds the lock, whatever its key is. */
function removeUnkept(directory: string): void {
  if (!existsSync(join(directory, DATABASE))) return
  try {
    openDatabase(directory, randomBytes(KEY_BYTES))[Symbol.dispose]()
  } catch (error) {
    if (error instanceof ParleyError && error.code === 'profile_in_use') throw error
  }
  for (const rest of ['', '-wal', '-shm']) rmSync(join(directory, DATABASE + rest), { force: true })
}

/** `no_such_profile`, `wrong_passphrase`, `profile_in_use`, `unsupported_version`. */
export async function openProfileFile(directory: string, passphrase: string): Promise<ProfileFile> {
  return openDatabase(directory, await deriveKey(passphrase, await readParameters(directory)))
}

function openDatabase(directory: string, key: Buffer, keep = async (): Promise<void> => undefined): ProfileFile {
  const database = new Database(join(directory, DATABASE), { cacheStatements: false })
  try {
    database.pragma(`key = "x'${key.toString('hex')}'"`)
    key.fill(0)
    database.pragma('cipher_log_level = NONE')
    database.pragma('locking_mode = EXCLUSIVE')
    database.pragma('journal_mode = WAL')
    database.pragma('synchronous = FULL')
    // Takes the lock now, not with the first message.
    database.exec('BEGIN EXCLUSIVE; COMMIT')
    if (layoutOf(database) > LAYOUT_VERSION) {
      throw new ParleyError('unsupported_version', 'this profile was written by a newer program', {
        version: `${layoutOf(database)}`,
      })
    }
    migrate(database)
  } catch (error) {
    database.close()
    throw openingError(error, directory)
  }
  let open = true
  return {
    directory,
    db: sqlDb(database),
    keep,
    [Symbol.dispose]() {
      if (open) database.close()
      open = false
    },
  }
}

function openingError(error: unknown, directory: string): unknown {
  if (error instanceof ParleyError || !(error instanceof Error)) return error
  if (/not a database|SQLITE_NOTADB/i.test(error.message)) {
    return new ParleyError('wrong_passphrase', 'the passphrase is not the one of this profile', { profile: directory })
  }
  if (/locked|busy/i.test(error.message)) {
    return new ParleyError('profile_in_use', 'another process has this profile open', { profile: directory })
  }
  return error
}
