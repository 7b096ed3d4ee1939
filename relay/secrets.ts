// The keys of a node, each in a file of its own that only its owner reads. The region's root key is not among them.
import { hkdfSync } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf'
import { type RegionKeys, regionKeys } from '#node/region'
import {
  decode,
  GrantSchema,
  limits,
  openNodeCertificate,
  ParleyError,
  type SignedRecord,
  SignedRecordSchema,
  type SigningKey,
  signingKey,
} from '#protocol'

const OWNER_ONLY = 0o600
const SECRET_BYTES = 32
const NOTE_CONTEXT = 'parley/note-secret/v1'
const MARK = 'parley-secret-key-v1:'

export const secretFiles = (dataDir: string) =>
  ({
    operational: join(dataDir, 'keys', 'operational.key'),
    node: join(dataDir, 'keys', 'node.key'),
    grant: join(dataDir, 'keys', 'grant'),
    certificate: join(dataDir, 'keys', 'certificate'),
  }) as const

/** Never part of the configuration, never logged. */
export type RelaySecrets = {
  readonly keys: RegionKeys
  readonly nodeSecret: Uint8Array
  readonly nodeKey: SigningKey
  /** Derived from the node's key: seals notes to itself. */
  readonly noteSecret: Uint8Array
  readonly certificate: SignedRecord
}

/** Makes a file that was not there; `conflict` when it was. Durable when it resolves. */
export async function writeNew(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const handle = await open(file, 'wx', OWNER_ONLY).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw cannot('write', file, error)
    throw new ParleyError('conflict', `${file} is there already and is not overwritten`, {
      next: 'move it away, or choose another place',
    })
  })
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** The old content or the new, whatever happens. */
export async function replaceFile(file: string, text: string): Promise<void> {
  const draft = `${file}.new`
  await rm(draft, { force: true })
  await writeNew(draft, text)
  await rename(draft, file)
}

export const secretText = (secret: Uint8Array, comment: string): string =>
  `${comment}${MARK}${Buffer.from(secret).toString('base64')}\n`

export const recordText = <T extends DescMessage>(schema: T, record: MessageShape<T>): string =>
  `${Buffer.from(toBinary(schema, record)).toString('base64')}\n`

function cannot(what: string, file: string, error: NodeJS.ErrnoException): ParleyError {
  return new ParleyError('unauthorized', `cannot ${what} ${file}: ${error.code}`, {
    next: `give the user that runs the relay the right to ${what} it`,
  })
}

async function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw cannot('read', file, error)
    throw new ParleyError('not_found', `the file ${file} is missing`, {
      next: 'restore it from your backup; without one, make a new relay with `parley relay init`',
    })
  })
}

const damaged = (file: string): ParleyError =>
  new ParleyError('malformed', `${file} is not what \`parley relay init\` wrote`, {
    next: 'restore it from your backup',
  })

export async function readSecret(file: string): Promise<Uint8Array> {
  const text = await readText(file)
  const line = text.split('\n').find((one) => one.startsWith(MARK))
  const secret = Buffer.from(line?.slice(MARK.length) ?? '', 'base64')
  if (secret.length !== SECRET_BYTES) throw damaged(file)
  return new Uint8Array(secret)
}

async function readRecord<T extends DescMessage>(file: string, schema: T): Promise<MessageShape<T>> {
  const bytes = Buffer.from(await readText(file), 'base64')
  try {
    return decode(schema, bytes, 2 * limits.RECORD_MAX_BYTES)
  } catch {
    throw damaged(file)
  }
}

/** Throws `not_found`, `unauthorized`, `malformed`, `not_granted`, `expired`: each names the file and the next step. */
export async function readSecrets(dataDir: string, nowMs: number): Promise<RelaySecrets> {
  const files = secretFiles(dataDir)
  const operational = await readSecret(files.operational)
  const nodeSecret = await readSecret(files.node)
  const keys = regionKeys(operational, await readRecord(files.grant, GrantSchema))
  const certificate = await readRecord(files.certificate, SignedRecordSchema)
  const opened = openNodeCertificate(certificate, nowMs)
  const nodeKey = signingKey(nodeSecret)
  if (opened.regionId !== keys.regionId || Buffer.compare(opened.nodeKey, nodeKey.publicKey) !== 0) {
    throw new ParleyError('not_granted', `${files.certificate} is not for ${files.node}`, {
      next: 'restore both files from the same backup',
    })
  }
  const noteSecret = new Uint8Array(hkdfSync('sha256', nodeSecret, new Uint8Array(0), NOTE_CONTEXT, SECRET_BYTES))
  return { keys, nodeSecret, nodeKey, noteSecret, certificate }
}
