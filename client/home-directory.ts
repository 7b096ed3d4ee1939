// The engine's directory: the home over HTTP, with the token of the present session. Records are verified here in
// themselves; whether they are newer than what is known is for the engine to say.
import { toBinary } from '@bufbuild/protobuf'
import {
  type Clock,
  decode,
  HomeRecordSchema,
  limits,
  openHomeRecord,
  openManifest,
  ParleyError,
  PrekeyBundleSchema,
  SignedPrekeysSchema,
  SignedRecordSchema,
} from '#protocol'
import { ask, fromBase64, type HttpRequest } from './http.ts'
import type { Directory } from './rules/ports.ts'
import type { OpenSession } from './session.ts'

const RECORD_WHOLE_MAX_BYTES = 4 * limits.RECORD_MAX_BYTES

type Counts = { readonly oneTime: unknown; readonly oneTimeKyber: unknown }

function countOf(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw new ParleyError('malformed', 'an answer without counts of prekeys')
  return value
}

export function homeDirectory(session: () => OpenSession | undefined, clock: Clock): Directory {
  const request = <T>(method: HttpRequest['method'], path: string, body?: unknown): Promise<T> => {
    const open = session()
    if (!open) return Promise.reject(new ParleyError('unreachable', 'not connected to the home'))
    return ask<T>({ method, origin: open.origin, path, token: open.token(), body })
  }
  return {
    async find(user) {
      const answer = await request<{ homeRecord?: unknown; manifest?: unknown }>('GET', `/v1/users/${user}`)
      const home = decode(HomeRecordSchema, fromBase64(answer?.homeRecord), RECORD_WHOLE_MAX_BYTES)
      const manifest = decode(SignedRecordSchema, fromBase64(answer?.manifest), RECORD_WHOLE_MAX_BYTES)
      return { home: openHomeRecord(home, clock.now()), manifest: openManifest(manifest, clock.now()) }
    },
    async bundle(user, device) {
      const answer = await request<{ bundle?: unknown }>('POST', `/v1/users/${user}/devices/${device}/bundle`)
      return decode(PrekeyBundleSchema, fromBase64(answer?.bundle), RECORD_WHOLE_MAX_BYTES)
    },
    async prekeyCounts() {
      const answer = await request<Partial<Counts> | undefined>('GET', '/v1/prekeys')
      return { oneTime: countOf(answer?.oneTime), oneTimeKyber: countOf(answer?.oneTimeKyber) }
    },
    async uploadPrekeys(prekeys) {
      const bytes = Buffer.from(toBinary(SignedPrekeysSchema, prekeys)).toString('base64')
      await request('PUT', '/v1/prekeys', { prekeys: bytes })
    },
  }
}
