// A certificate for this machine, by the openssl program: Node reads certificates but makes none.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** Files. Clients trust the certificate itself. */
export type Tls = { readonly cert: string; readonly key: string }

/** Undefined when there is no openssl. */
export async function makeCertificate(dir: string): Promise<Tls | undefined> {
  const [cert, key] = [join(dir, 'tls.cert'), join(dir, 'tls.key')]
  const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost']
  const run = promisify(execFile)('openssl', [...made, ...name, '-keyout', key, '-out', cert])
  const is = await run.then(
    () => true,
    () => false,
  )
  return is ? { cert, key } : undefined
}
