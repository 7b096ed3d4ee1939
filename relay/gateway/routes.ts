// The HTTP API under /v1: what is asked for, beside what flows in sessions.
import { type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf'
import type { FastifyRequest } from 'fastify'
import {
  decode,
  ensureConvId,
  ensureRegionId,
  ensureUserId,
  HomeRecordSchema,
  isPosition,
  limits,
  ParleyError,
  type Position,
  PrekeyBundleSchema,
  positionOf,
  positionText,
  SignedPrekeysSchema,
  type SignedRecord,
  SignedRecordSchema,
} from '#protocol'
import type { Account } from '../accounts/accounts.ts'
import { createBudgets } from '../accounts/budgets.ts'
import { ACCOUNT_BUDGET, ANONYMOUS_BUDGET, HTTP_BODY_MAX_BYTES } from '../limits.ts'
import { householdOf } from './address.ts'
import { isLoopback } from './doors.ts'
import type { Http } from './http.ts'
import type { GatewayParts, Reader } from './parts.ts'
import * as schema from './schemas.ts'
import type { Tokens } from './tokens.ts'

const RECORD_WHOLE_MAX_BYTES = 2 * limits.RECORD_MAX_BYTES

function toBase64<T extends DescMessage>(schema: T, message: MessageShape<T>): string {
  return Buffer.from(toBinary(schema, message)).toString('base64')
}

function readRecord(text: string): SignedRecord {
  return decode(SignedRecordSchema, Buffer.from(text, 'base64'), RECORD_WHOLE_MAX_BYTES)
}

function readPlace(text: string): Position {
  const [epoch, n] = text.split('.').map(Number)
  if (epoch === undefined || n === undefined || !isPosition(epoch, n)) {
    throw new ParleyError('bad_argument', 'after: epoch.n is out of range')
  }
  return positionOf(epoch, n)
}

function readerOf(request: FastifyRequest): Reader {
  if (!request.reader) throw new Error('a route that needs a token without asking for one')
  return request.reader
}

function publicRoutes(http: Http, parts: GatewayParts): void {
  const answers = { 200: schema.HealthAnswer, 503: schema.HealthAnswer }
  http.get('/v1/health', { schema: { response: answers } }, async (_, reply) => {
    const trouble = parts.trouble()
    if (trouble !== undefined) reply.status(503)
    const status = trouble === undefined ? 'ok' : 'trouble'
    return { status, ...(trouble !== undefined && { trouble }), timeMs: parts.clock.now() }
  })
  http.get('/metrics', { schema: { hide: true } }, async (_, reply) => {
    reply.type('text/plain; version=0.0.4; charset=utf-8')
    return parts.metrics()
  })
  http.get('/v1/region', { schema: { response: { 200: schema.RegionAnswer } } }, () => {
    const record = parts.regionRecord()
    return {
      regionId: parts.identity.regionId,
      name: parts.identity.regionName,
      record: record ? toBase64(SignedRecordSchema, record) : '',
      timeMs: parts.clock.now(),
    }
  })
}

/** Records that prove themselves: no token, but a budget for each household. */
function accountRoutes(http: Http, parts: GatewayParts): void {
  const budget = createBudgets(ANONYMOUS_BUDGET, parts.clock)
  const spend = (address: string): void => {
    if (!isLoopback(address)) budget.spend(householdOf(address))
  }
  recoveryRoute(http, parts, spend)
  const shape = { body: schema.AccountBody, response: { 200: schema.HomeRecordAnswer } }
  http.post(
    '/v1/accounts',
    { schema: { ...shape, summary: 'Opens an account, or takes a newer manifest of it' } },
    async (request) => {
      spend(request.ip)
      const { manifest, head, former } = request.body
      const before = former && { region: ensureRegionId(former.region), gone: former.gone }
      const account = await parts.accounts.register(readRecord(manifest), readRecord(head), request.ip, before)
      return { homeRecord: toBase64(HomeRecordSchema, account.home.record) }
    },
  )
  http.put(
    '/v1/manifest',
    { schema: { ...shape, summary: 'Takes a newer manifest of an account of this region' } },
    async (request) => {
      spend(request.ip)
      const { manifest, head } = request.body
      const account = await parts.accounts.replaceManifest(readRecord(manifest), readRecord(head))
      return { homeRecord: toBase64(HomeRecordSchema, account.home.record) }
    },
  )
}

/** A recovery begins with nothing but a phrase: it needs the manifest that the new one follows, and has no session yet. */
function recoveryRoute(http: Http, parts: GatewayParts, spend: (address: string) => void): void {
  const shape = { params: schema.UserParams, response: { 200: schema.RecordsAnswer } }
  http.get(
    '/v1/accounts/:userId',
    { schema: { ...shape, summary: 'The newest records of an account of this region' } },
    async (request) => {
      spend(request.ip)
      const user = ensureUserId(request.params.userId)
      const account = (await parts.accounts.findCommitted(user)) ?? parts.accounts.knownStored(user)
      if (!account) throw new ParleyError('unknown_user', 'no account of this region', { user })
      return recordsOf(account)
    },
  )
}

function recordsOf({ home, manifest }: Account) {
  return {
    homeRecord: toBase64(HomeRecordSchema, home.record),
    manifest: toBase64(SignedRecordSchema, manifest.record),
  }
}

function peopleRoutes(http: Http, parts: GatewayParts): void {
  http.get(
    '/v1/users/:userId',
    { schema: { params: schema.UserParams, response: { 200: schema.RecordsAnswer }, security: [{ token: [] }] } },
    async (request) => {
      const user = ensureUserId(request.params.userId)
      const found = await parts.people.find(user)
      if (!found) throw new ParleyError('unknown_user', 'nobody with this id was found', { user })
      return recordsOf(found)
    },
  )
  http.post(
    '/v1/users/:userId/devices/:number/bundle',
    { schema: { params: schema.DeviceParams, response: { 200: schema.BundleAnswer }, security: [{ token: [] }] } },
    async (request) => {
      const { userId, number } = request.params
      const bundle = await parts.people.bundle(ensureUserId(userId), number, readerOf(request).userId)
      return { bundle: toBase64(PrekeyBundleSchema, bundle) }
    },
  )
}

function ownRoutes(http: Http, parts: GatewayParts): void {
  const answers = { response: { 200: schema.CountsAnswer }, security: [{ token: [] }] }
  http.put('/v1/prekeys', { schema: { ...answers, body: schema.PrekeysBody } }, async (request) => {
    const { userId, device } = readerOf(request)
    const bytes = Buffer.from(request.body.prekeys, 'base64')
    return parts.prekeys.stock(userId, device, decode(SignedPrekeysSchema, bytes, HTTP_BODY_MAX_BYTES))
  })
  http.get('/v1/prekeys', { schema: answers }, async (request) => {
    const { userId, device } = readerOf(request)
    const { oneTime, oneTimeKyber } = await parts.prekeys.counts(userId, device)
    return { oneTime, oneTimeKyber }
  })
  http.get(
    '/v1/conversations/:convId/entries',
    {
      schema: {
        params: schema.ConversationParams,
        querystring: schema.EntriesQuery,
        response: { 200: schema.EntriesAnswer },
        security: [{ token: [] }],
      },
    },
    async (request) => {
      const conv = ensureConvId(request.params.convId)
      const after = readPlace(request.query.after)
      const page = await parts.readEntries(readerOf(request), conv, after, limits.PAGE_MAX_BYTES)
      const entries = page.entries.map((entry) => Buffer.from(entry).toString('base64'))
      return { entries, head: positionText(page.head) }
    },
  )
}

export async function addRoutes(http: Http, parts: GatewayParts, tokens: Tokens<Reader>): Promise<void> {
  publicRoutes(http, parts)
  accountRoutes(http, parts)
  const budget = createBudgets(ACCOUNT_BUDGET, parts.clock)
  await http.register(async (scope) => {
    const withToken = scope as Http
    withToken.addHook('onRequest', async (request) => {
      const reader = tokens.ownerOf(request.headers.authorization)
      budget.spend(reader.userId)
      request.reader = reader
    })
    peopleRoutes(withToken, parts)
    ownRoutes(withToken, parts)
  })
}
