// Every decoder of this folder, for the fuzzer: the client port's HTTP, tokens, upgrades, and what other nodes and entry
// services answer. Rows and journal records of the store are its own, behind checksums.
import { create, toBinary } from '@bufbuild/protobuf'
import type { RequestHandler } from '#node'
import {
  type Clock,
  convIdOf,
  HomeRecordSchema,
  limits,
  openHomeRecord,
  openManifest,
  ParleyError,
  PrekeyBundleSchema,
  PrekeySchema,
  SignedPrekeysSchema,
  SignedRecordSchema,
  simulatedRandom,
  systemClock,
  UserQuerySchema,
  UserRecordsSchema,
  userIdBytes,
} from '#protocol'
import {
  bytesOfText,
  type Decoder,
  homeRecord,
  JSON_MEMORY_FACTOR,
  makeCast,
  manifestRecord,
  NOW_MS,
  regionRecord,
  textOf,
} from '#protocol/decoders'
import { createAccounts } from './accounts/accounts.ts'
import { createPrekeys } from './accounts/prekeys.ts'
import { accountRows } from './accounts/rows.ts'
import { answerRequests, createDirectory } from './directory.ts'
import { askEntry } from './entry-points.ts'
import { makePerson, makePrekeys, makeRegion, makeStore, type Person, type TestRegion } from './fixtures.ts'
import { checkUpgrade, SESSION_PATH, SUBPROTOCOL } from './gateway/doors.ts'
import { createHttp, type Http } from './gateway/http.ts'
import type { GatewayParts, Reader } from './gateway/parts.ts'
import { addRoutes } from './gateway/routes.ts'
import { createTokens, type Tokens } from './gateway/tokens.ts'
import { HTTP_BODY_MAX_BYTES } from './limits.ts'

const TEXT_MAX_BYTES = 8 * 1024

/** Budgets are always full: time flies between two requests. */
function fleetingClock(): Clock {
  const start = systemClock.now()
  let passed = 0
  return {
    now: () => start,
    monotonic: () => {
      passed += 60_000
      return passed
    },
    after: systemClock.after,
  }
}

type Port = {
  readonly http: Http
  readonly tokens: Tokens<Reader>
  readonly region: TestRegion
  readonly person: Person
  readonly token: string
}

const SESSION_ID = '03'.repeat(16)

/** The routes of a real client port without a socket, above real accounts. */
async function openPort(): Promise<Port> {
  const clock = fleetingClock()
  const region = makeRegion()
  const person = makePerson(region.regionId)
  const rows = accountRows(await makeStore().open())
  const accounts = createAccounts({ rows, clock, keys: region, policy: () => undefined, onChange: () => undefined })
  const quiet = { onLow: () => undefined, onGiven: () => undefined }
  const prekeys = createPrekeys({ rows, accounts, clock, region: region.regionId, ...quiet })
  const nothing = (): undefined => undefined
  const events = {
    socketRefused: nothing,
    signedIn: nothing,
    signInRefused: nothing,
    sessionEnded: nothing,
    answered: nothing,
  }
  const fault = (_where: string, error: unknown): never => {
    throw error
  }
  const parts: GatewayParts = {
    identity: {
      regionId: region.regionId,
      regionName: 'north',
      nodeKey: region.nodeKey,
      certificate: region.certificate,
      bootId: new Uint8Array(16),
    },
    clock,
    random: simulatedRandom(1),
    events: { ...events, fault },
    accounts,
    prekeys,
    people: {
      find: (user) => accounts.find(user),
      bundle: (target, device, requester) =>
        prekeys.bundle(target, device, { user: requester, region: region.regionId }),
    },
    relay: () => {
      throw new Error('no rules here')
    },
    readEntries: async () => ({ entries: [], head: 0 as never }),
    regionRecord: () => undefined,
    metrics: async () => '',
    trouble: () => undefined,
  }
  const http = await createHttp(parts.events, { trustProxy: false, tls: undefined })
  // For tokens it stands still: the one that is used does not expire.
  const tokens = createTokens<Reader>(region.nodeKey.publicKey, { ...clock, monotonic: () => 0 }, simulatedRandom(2))
  await addRoutes(http, parts, tokens)
  await accounts.register(person.first.manifest, person.first.head, '127.0.0.1')
  const { bytes } = tokens.open(SESSION_ID, { userId: person.userId, device: person.device })
  return { http, tokens, region, person, token: `Bearer ${Buffer.from(bytes).toString('base64url')}` }
}

const marked = (mark: number, bytes: Uint8Array): Uint8Array => new Uint8Array(Buffer.concat([Buffer.of(mark), bytes]))
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')

/** The answer's status; a refusal as the error that it says. A fault of the port (500) is one here. */
async function requested(
  port: Port,
  method: 'GET' | 'POST' | 'PUT',
  url: string,
  body: Uint8Array | undefined,
): Promise<number> {
  const headers = { authorization: port.token, ...(body && { 'content-type': 'application/json' }) }
  const payload = body && { payload: Buffer.from(body.buffer, body.byteOffset, body.length) }
  const answer = await port.http.inject({ method, url, headers, ...payload })
  if (answer.statusCode < 400) return answer.statusCode
  if (answer.statusCode === 500) throw new Error(`the port answers 500: ${answer.body}`)
  const { error } = JSON.parse(answer.body) as { error: { code: ParleyError['code']; message: string } }
  throw new ParleyError(error.code, error.message)
}

function httpDecoders(port: Port): Decoder[] {
  const { person } = port
  const records = JSON.stringify({
    manifest: base64(toBinary(SignedRecordSchema, person.first.manifest)),
    head: base64(toBinary(SignedRecordSchema, person.first.head)),
  })
  const stock = toBinary(SignedPrekeysSchema, makePrekeys(person, 1, 1, systemClock.now()))
  const routes = [
    ['POST', '/v1/accounts', records],
    ['PUT', '/v1/manifest', records],
    ['PUT', '/v1/prekeys', JSON.stringify({ prekeys: base64(stock) })],
  ] as const
  /** The first byte chooses the route. */
  const bodies: Decoder = {
    name: 'relay/http-bodies',
    covers: ['gateway/status.ts fromHttpError'],
    maxBytes: HTTP_BODY_MAX_BYTES,
    memoryFactor: JSON_MEMORY_FACTOR,
    examples: () => routes.map(([, , body], i) => new Uint8Array(Buffer.concat([Buffer.of(i), Buffer.from(body)]))),
    decode(bytes) {
      const [method, url] = routes[(bytes[0] ?? 0) % routes.length]!
      return requested(port, method, url, bytes.subarray(1))
    },
  }
  const target: Decoder = {
    name: 'relay/http-target',
    covers: [],
    maxBytes: TEXT_MAX_BYTES,
    examples: () =>
      [
        `/v1/accounts/${person.userId}`,
        `/v1/users/${person.userId}`,
        `/v1/conversations/${convIdOf(new Uint8Array(32))}/entries?after=1.2`,
        '/v1/health?x=%C3%A4#y',
      ].map(bytesOfText),
    refusedExamples: () => [bytesOfText('/v1/users/parley1nobody')],
    // Node's HTTP parser lets no others through, and its stand-in here takes neither a backslash nor a host.
    wrap: (bytes) =>
      bytesOfText(
        `/${textOf(bytes)
          .replace(/[^\x21-\x5b\x5d-\x7e]/g, '')
          .replace(/^\/+/, '')}`,
      ),
    decode: (bytes) => requested(port, 'GET', textOf(bytes), undefined),
  }
  return [bodies, target]
}

const tokenDecoder = ({ tokens, token }: Port): Decoder<string> => ({
  name: 'relay/ownerOf',
  covers: [],
  maxBytes: TEXT_MAX_BYTES,
  examples: () => [bytesOfText(token)],
  decode: (bytes) => tokens.ownerOf(textOf(bytes)).userId,
})

/** Path, origin and subprotocols in lines, as they stand in a request for a WebSocket. */
const upgradeDecoder: Decoder<undefined> = {
  name: 'relay/checkUpgrade',
  covers: ['gateway/doors.ts checkUpgrade'],
  maxBytes: TEXT_MAX_BYTES,
  examples: () => [bytesOfText(`${SESSION_PATH}\nhttps://allowed.example\n${SUBPROTOCOL}, other`)],
  decode(bytes) {
    const [path = '', origin, protocols] = textOf(bytes).split('\n')
    const refusal = checkUpgrade({ path, origin, protocols }, ['https://allowed.example'])
    if (refusal) throw refusal
    return undefined
  },
}

const CAST = makeCast(11)
const clock: Clock = { now: () => NOW_MS, monotonic: () => 0, after: systemClock.after }

/** What the home of somebody elsewhere answers to this node. */
function answerDecoder(): Decoder {
  const { ana, north, south } = CAST
  const home = openHomeRecord(homeRecord(ana), NOW_MS)
  let answer: Uint8Array
  const directory = {
    knownHome: () => home,
    findHome: async () => home,
    learnHome: () => true,
    learnHomeRecord: (record: Parameters<typeof openHomeRecord>[0]) => openHomeRecord(record, NOW_MS),
  }
  const accounts = { find: async () => undefined, findCommitted: async () => undefined, known: () => undefined }
  const node = { directory, request: async () => answer }
  const parts = { region: south.id, clock, accounts, prekeys: {}, node }
  const asking = createDirectory(parts as unknown as Parameters<typeof createDirectory>[0])
  const records = create(UserRecordsSchema, { home: homeRecord(ana), manifest: manifestRecord(ana) })
  const key = create(PrekeySchema, { id: 1, key: new Uint8Array(33), signature: new Uint8Array(64) })
  const bundle = create(PrekeyBundleSchema, {
    userId: userIdBytes(ana.id),
    device: 1,
    registrationEpoch: 1,
    registrationVersion: 1,
    signed: key,
    kyber: { ...key, key: new Uint8Array(1_569) },
  })
  /** The first byte chooses what was asked for. */
  return {
    name: 'relay/answers',
    covers: [],
    maxBytes: limits.REQUEST_MAX_BYTES,
    examples: () => [marked(0, toBinary(UserRecordsSchema, records)), marked(1, toBinary(PrekeyBundleSchema, bundle))],
    async decode(bytes) {
      answer = bytes.subarray(1)
      if (bytes[0] === 1) return (await asking.bundle(ana.id, 1, CAST.ben.id)).device
      const found = await asking.find(ana.id)
      if (found?.manifest.userId !== ana.id || found.home.homeRegion !== north.id)
        throw new Error('records of somebody else')
      return found.manifest.userId
    },
  }
}

/** What another region's node asks this one. */
function questionDecoder(): Decoder<Uint8Array> {
  const handlers = new Map<string, RequestHandler>()
  const { ana, ben, south } = CAST
  const account = { home: openHomeRecord(homeRecord(ana), NOW_MS), manifest: openManifest(manifestRecord(ana), NOW_MS) }
  const find = async (user: string) => (user === ana.id ? account : undefined)
  const bundle = async () => create(PrekeyBundleSchema, { device: 1 })
  const node = {
    handle: (method: string, handler: RequestHandler) => void handlers.set(method, handler),
    directory: { knownHome: () => undefined },
  }
  answerRequests({ accounts: { find, findCommitted: find }, prekeys: { bundle }, node } as unknown as Parameters<
    typeof answerRequests
  >[0])
  const query = create(UserQuerySchema, { userId: userIdBytes(ana.id), device: 1, requester: userIdBytes(ben.id) })
  return {
    name: 'relay/questions',
    covers: ['directory.ts answerRequests'],
    maxBytes: limits.RECORD_MAX_BYTES,
    examples: () => [0, 1].map((which) => marked(which, toBinary(UserQuerySchema, query))),
    decode: (bytes) =>
      handlers.get(bytes[0] === 1 ? 'bundle' : 'records')!({ peerId: 'x', region: south.id }, bytes.subarray(1)),
  }
}

/** The answer of an entry service, as HTTP brings it. */
const entryDecoder: Decoder<number> = {
  name: 'relay/askEntry',
  covers: [],
  maxBytes: 4 * HTTP_BODY_MAX_BYTES,
  memoryFactor: JSON_MEMORY_FACTOR,
  examples: () => {
    const regions = [
      base64(toBinary(SignedRecordSchema, regionRecord(CAST.north))),
      base64(toBinary(HomeRecordSchema, homeRecord(CAST.ana))),
    ]
    return [bytesOfText(JSON.stringify({ regions, multiaddrs: ['/ip4/127.0.0.1/tcp/1/ws/p2p/x'], timeMs: NOW_MS }))]
  },
  async decode(bytes) {
    globalThis.fetch = async () => new Response(Buffer.from(bytes))
    const { multiaddrs, regions } = await askEntry('http://entry.example', NOW_MS)
    return multiaddrs.length + regions.length
  },
}

export async function decoders(): Promise<Decoder[]> {
  const port = await openPort()
  return [...httpDecoders(port), tokenDecoder(port), upgradeDecoder, answerDecoder(), questionDecoder(), entryDecoder]
}
