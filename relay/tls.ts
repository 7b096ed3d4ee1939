// The certificate of a relay that has no proxy with TLS in front of it.
import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { ParleyError } from '#protocol'

export type TlsFiles = { readonly certFile: string; readonly keyFile: string }

export type Tls = {
  readonly cert: Buffer
  readonly key: Buffer
  readonly endsMs: number
  /** Whether clients that dial this host take the certificate for its. */
  covers(hostname: string): boolean
}

async function read(file: string): Promise<Buffer> {
  return readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT')
      throw new ParleyError('not_found', `the file ${file} is missing`, {
        next: 'correct client.tls_cert, client.tls_key',
      })
    throw new ParleyError('unauthorized', `cannot read ${file}: ${error.code}`, {
      next: 'give the user that runs the relay the right to read it',
    })
  })
}

const isAddress = (hostname: string): boolean => /^[\d.]+$|:/.test(hostname)

/** Throws `not_found`, `unauthorized`, `malformed`: each names the file and the next step. */
export async function readTls({ certFile, keyFile }: TlsFiles): Promise<Tls> {
  const [cert, key] = [await read(certFile), await read(keyFile)]
  try {
    createSecureContext({ cert, key })
    const certificate = new X509Certificate(cert)
    return {
      cert,
      key,
      endsMs: Date.parse(certificate.validTo),
      covers(hostname) {
        const host = hostname.replace(/^\[(.*)\]$/, '$1')
        return (isAddress(host) ? certificate.checkIP(host) : certificate.checkHost(host)) !== undefined
      },
    }
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new ParleyError('malformed', `${certFile} and ${keyFile} are no certificate with its key: ${why}`, {
      next: 'give a certificate and its private key, both in PEM',
    })
  }
}
