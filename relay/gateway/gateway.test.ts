import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, beforeEach, describe, it } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  audienceOf,
  DeviceFrameSchema,
  encodeDeviceFrame,
  encodeHomeFrame,
  HomeFrameSchema,
  limits,
  type ParleyError,
  PrekeyBundleSchema,
  SignedPrekeysSchema,
  startSignIn,
  systemRandom,
} from '#protocol'
import { makeDevice, makePerson, makePrekeys, makeRegion, type Person } from '../fixtures.ts'
import { IDLE_MAX_MS, PING_AFTER_MS, SOCKET_BACKLOG_HELD_BYTES, TOKEN_LIFE_MS } from '../limits.ts'
import { ask, base64, bearer, closed, dial, next, records, register, signIn } from './test-device.ts'
import { startNode } from './test-node.ts'

type Node = Awaited<ReturnType<typeof startNode>>

const refused = (code: string) => (error: unknown) => {
  assert.equal((error as ParleyError).code, code)
  return true
}

describe('the client port', () => {
  const region = makeRegion()
  let node: Node
  let person: Person
  before(async () => {
    node = await startNode(region)
  })
  after(async () => {
    await node.gateway[Symbol.asyncDispose]()
    await node.store[Symbol.asyncDispose]()
    assert.deepEqual(node.faults, [])
  })
  beforeEach(async () => {
    person = makePerson(region.regionId)
    assert.equal((await register(node.url, person)).status, 200)
  })

  it('signs a device in, carries frames both ways, and ends the older of two sessions', async () => {
    const first = await signIn(node.url, region.regionId, { person })
    first.send({ ping: 7 })
    await first.until((frame) => frame.pong === 7)
    const older = closed(first.socket)
    const second = await signIn(node.url, region.regionId, { person })
    const end = await first.until((frame) => frame.refusal !== undefined)
    assert.equal(end.refusal?.code, 'signed_in_elsewhere')
    assert.deepEqual(await older, { status: 4_001, reason: 'signed_in_elsewhere' })
    assert.equal((await ask(node.url, '/v1/prekeys', { headers: bearer(first.session) })).code, 'unauthorized')
    assert.equal((await ask(node.url, '/v1/prekeys', { headers: bearer(second.session) })).status, 200)
    assert.deepEqual(
      [...node.rules.sessions.values()].map((s) => s.userId),
      [person.userId],
    )
    second.socket.close()
    await closed(second.socket)
  })

  it('refuses a sign-in that is replayed, passed on to another node, or made for another address', async () => {
    const { said, socket } = await signIn(node.url, region.regionId, { person })
    const replay = dial(node.url)
    await once(replay, 'open')
    replay.send(said[0]!)
    await next(replay)
    replay.send(said[1]!)
    assert.deepEqual(await closed(replay), { status: 4_000, reason: 'bad_signature' })
    await using elsewhere = await startNode(region).then((other) => ({
      ...other,
      [Symbol.asyncDispose]: async () => {
        await other.gateway[Symbol.asyncDispose]()
        await other.store[Symbol.asyncDispose]()
      },
    }))
    const passedOn = dial(elsewhere.url)
    await once(passedOn, 'open')
    passedOn.send(
      startSignIn({ regionId: region.regionId, audience: audienceOf(node.url), mode: 1, random: systemRandom }).hello,
    )
    assert.deepEqual(await closed(passedOn), { status: 4_000, reason: 'wrong_audience' })
    socket.close()
  })

  it('refuses unsigned devices, other manifests and old profiles, each with its code', async () => {
    const stranger = makePerson(region.regionId)
    await assert.rejects(signIn(node.url, region.regionId, { person: stranger }), refused('unknown_user'))
    const unsigned = makeDevice(2, { rootEpoch: 1, version: 1 })
    await assert.rejects(signIn(node.url, region.regionId, { person, device: unsigned }), refused('unsigned_device'))
    const thief = { ...person.device, key: unsigned.key }
    await assert.rejects(signIn(node.url, region.regionId, { person, device: thief }), refused('bad_signature'))
    const second = person.sign({
      version: 2,
      previousHash: person.first.opened.hash,
      generation: 1,
      devices: [person.device.entry, makeDevice(2, { rootEpoch: 1, version: 2 }).entry],
    })
    await assert.rejects(signIn(node.url, region.regionId, { person, manifest: second }), refused('stale_manifest'))
    assert.equal((await ask(node.url, '/v1/manifest', { method: 'PUT', json: records(second) })).status, 200)
    await assert.rejects(signIn(node.url, region.regionId, { person }), refused('too_old'))
    assert.equal((await ask(node.url, '/v1/manifest', { method: 'PUT', json: records(person.first) })).code, 'too_old')
    const { socket } = await signIn(node.url, region.regionId, { person, manifest: second, counter: 1_000n })
    socket.close()
    await assert.rejects(
      signIn(node.url, region.regionId, { person, manifest: second, counter: 1_000n }),
      refused('old_profile'),
    )
    const recovered = person.sign({ rootEpoch: 2, devices: [makeDevice(1, { rootEpoch: 2, version: 1 }).entry] })
    assert.equal((await register(node.url, { ...person, first: recovered })).status, 200)
    const byReplacedKey = person.sign({ version: 3, previousHash: second.opened.hash })
    assert.equal((await ask(node.url, '/v1/manifest', { method: 'PUT', json: records(byReplacedKey) })).code, 'too_old')
    await assert.rejects(signIn(node.url, region.regionId, { person, manifest: second }), refused('unsigned_device'))
  })

  it('ends only the session that broke the rules, after a typed refusal', async () => {
    const good = await signIn(node.url, region.regionId, {
      person: await (async () => {
        const other = makePerson(region.regionId)
        await register(node.url, other)
        return other
      })(),
    })
    const cases: [string, Uint8Array | string][] = [
      ['too_large', new Uint8Array(limits.FRAME_MAX_BYTES + 1)],
      ['malformed', Buffer.from('ffffffff', 'hex')],
      ['malformed', 'text'],
      ['bad_name', encodeDeviceFrame(create(DeviceFrameSchema, { cursors: [{ conv: 9, epoch: 1, n: 1 }] }))],
    ]
    for (const [code, bytes] of cases) {
      const bad = await signIn(node.url, region.regionId, { person })
      bad.socket.send(bytes)
      const end = closed(bad.socket)
      assert.equal((await bad.until((frame) => frame.refusal !== undefined)).refusal?.code, code)
      assert.deepEqual(await end, { status: 4_001, reason: code })
    }
    const flood = await signIn(node.url, region.regionId, { person })
    flood.socket.send(new Uint8Array(3 * limits.FRAME_MAX_BYTES))
    assert.equal((await closed(flood.socket)).status, 1_009)
    good.send({ ping: 1 })
    await good.until((frame) => frame.pong === 1)
    good.socket.close()
  })

  it('refuses upgrades with a wrong path, subprotocol or origin, and takes an allowed page', async () => {
    const status = async (options: Parameters<typeof dial>[1]) => {
      const [, response] = await once(dial(node.url, options), 'unexpected-response', {
        signal: AbortSignal.timeout(5_000),
      })
      return (response as { statusCode: number }).statusCode
    }
    assert.equal(await status({ path: '/v1/elsewhere' }), 404)
    assert.equal(await status({ protocols: ['parley.v9'] }), 400)
    assert.equal(await status({ origin: 'https://evil.example' }), 401)
    const page = dial(node.url, { origin: 'https://allowed.example' })
    await once(page, 'open')
    assert.equal(page.protocol, 'parley.v1')
    page.terminate()
  })

  it('closes sockets that do not sign in, idle ones, and pings before', async () => {
    const silent = dial(node.url)
    await once(silent, 'open')
    const late = closed(silent)
    node.ahead(limits.SIGN_IN_FIRST_MS + 1)
    assert.deepEqual(await late, { status: 4_000, reason: 'timeout' })
    const idle = await signIn(node.url, region.regionId, { person })
    const pinged = once(idle.socket, 'ping')
    node.ahead(PING_AFTER_MS + 1)
    await pinged
    idle.send({ ping: 1 })
    await idle.until((frame) => frame.pong === 1)
    const end = closed(idle.socket)
    node.ahead(IDLE_MAX_MS + 1)
    assert.deepEqual(await end, { status: 4_001, reason: 'timeout' })
  })

  it('renews the token at half its life, refuses it when it has expired or its session has ended', async () => {
    const live = await signIn(node.url, region.regionId, { person })
    const status = async (token: Uint8Array) =>
      (await ask(node.url, '/v1/prekeys', { headers: bearer({ httpToken: token }) })).status
    const keepAlive = async (ping: number) => {
      live.send({ ping })
      await live.until((frame) => frame.pong === ping)
    }
    const forged = live.session.httpToken.slice()
    forged[forged.length - 1]! ^= 1
    assert.equal(await status(forged), 401)
    assert.equal(await status(live.session.httpToken.slice(1)), 401)
    const stepMs = IDLE_MAX_MS - 1_000
    for (let i = 1; i * stepMs <= TOKEN_LIFE_MS / 2 + stepMs; i++) {
      node.ahead(stepMs)
      await keepAlive(i)
    }
    const renewed = await live.until((frame) => frame.notices[0]?.what.case === 'httpToken')
    const what = renewed.notices[0]!.what
    assert.ok(what.case === 'httpToken')
    assert.equal(await status(live.session.httpToken), 200, 'the one before counts until it expires')
    for (let i = 1; i * stepMs <= TOKEN_LIFE_MS / 2; i++) {
      node.ahead(stepMs)
      await keepAlive(100 + i)
    }
    assert.equal(await status(live.session.httpToken), 401)
    assert.equal(await status(what.value.token), 200)
    live.socket.close()
    await closed(live.socket)
    await ask(node.url, '/v1/health')
    assert.equal(await status(what.value.token), 401)
  })

  it('cuts a reader that takes nothing, without growing', async () => {
    const slow = await signIn(node.url, region.regionId, { person })
    const session = [...node.rules.sessions.values()].find((s) => s.userId === person.userId)!
    slow.socket.removeAllListeners('message')
    slow.socket.pause()
    const refusal = { code: 'overloaded', message: 'x'.repeat(200_000) }
    for (let i = 0; i < 1_000 && node.rules.sessions.has(session.id); i++) {
      const verdicts = [{ conv: 1, k: 1, outcome: { case: 'wait' as const, value: refusal } }]
      session.send(encodeHomeFrame(create(HomeFrameSchema, { verdicts })))
      await new Promise(setImmediate)
    }
    assert.ok(!node.rules.sessions.has(session.id))
    slow.socket.resume()
    await closed(slow.socket)
  })

  it('serves records, prekeys and bundles over HTTP, and describes itself', async () => {
    const { session, socket, until } = await signIn(node.url, region.regionId, { person })
    const headers = bearer(session)
    await until((frame) => frame.notices[0]?.what.case === 'prekeysLow')
    const prekeys = base64(toBinary(SignedPrekeysSchema, makePrekeys(person, 200, 1, Date.now())))
    const stocked = await ask(node.url, '/v1/prekeys', { method: 'PUT', headers, json: { prekeys } })
    assert.deepEqual(stocked.body, { oneTime: 200, oneTimeKyber: 200 })
    const bundle = await ask(node.url, `/v1/users/${person.userId}/devices/1/bundle`, { method: 'POST', headers })
    assert.equal(fromBinary(PrekeyBundleSchema, Buffer.from(bundle.body.bundle, 'base64')).oneTime?.id, 1)
    assert.deepEqual((await ask(node.url, '/v1/prekeys', { headers })).body, { oneTime: 199, oneTimeKyber: 199 })
    assert.equal(
      (await ask(node.url, `/v1/users/${person.userId}`, { headers })).body.manifest,
      records(person.first).manifest,
    )
    const nobody = makePerson(region.regionId).userId
    const known = await ask(node.url, `/v1/accounts/${person.userId}`)
    assert.equal(known.body.manifest, records(person.first).manifest)
    assert.equal((await ask(node.url, `/v1/accounts/${nobody}`)).code, 'unknown_user')
    const refusals: [string, string, RequestInit?][] = [
      [`/v1/users/${nobody}`, 'unknown_user'],
      ['/v1/users/parley1nonsense', 'bad_id'],
      [`/v1/users/${person.userId}/devices/0/bundle`, 'malformed', { method: 'POST' }],
      [`/v1/users/${person.userId}/devices/9/bundle`, 'unknown_device', { method: 'POST' }],
      ['/v1/conversations/nonsense/entries', 'bad_id'],
      ['/v1/nothing', 'not_found'],
    ]
    for (const [path, code, init] of refusals)
      assert.equal((await ask(node.url, path, { ...init, headers })).code, code, path)
    assert.equal((await ask(node.url, `/v1/users/${person.userId}`)).code, 'unauthorized')
    assert.equal(
      (await ask(node.url, '/v1/accounts', { method: 'POST', json: { manifest: '!', head: '' } })).code,
      'malformed',
    )
    assert.equal(
      (await ask(node.url, '/v1/accounts', { method: 'POST', json: { ...records(person.first), head: '' } })).status,
      403,
    )
    const big = await ask(node.url, '/v1/accounts', {
      method: 'POST',
      json: { manifest: 'A'.repeat(2_000_000), head: '' },
    })
    assert.equal(big.code, 'too_large')
    assert.equal((await ask(node.url, '/v1/health')).body.status, 'ok')
    assert.equal((await ask(node.url, '/v1/region')).body.regionId, region.regionId)
    const description = await ask(node.url, '/v1/openapi.json')
    const paths = [
      '/v1/accounts',
      '/v1/accounts/{userId}',
      '/v1/manifest',
      '/v1/users/{userId}',
      '/v1/prekeys',
      '/v1/users/{userId}/devices/{number}/bundle',
      '/v1/conversations/{convId}/entries',
      '/v1/health',
      '/v1/region',
    ]
    assert.deepEqual(Object.keys(description.body.paths).toSorted(), paths.toSorted())
    const guarded: string[] = []
    for (const [path, methods] of Object.entries(description.body.paths)) {
      for (const [method, { security }] of Object.entries(methods)) {
        if (!security) continue
        const concrete = path.replace('{number}', '1').replaceAll(/\{\w+\}/g, 'x')
        assert.equal((await ask(node.url, concrete, { method: method.toUpperCase() })).code, 'unauthorized', path)
        guarded.push(`${method} ${path}`)
      }
    }
    assert.equal(guarded.length, 5, 'what needs a token')
    socket.close()
  })

  it('a device that does not read is not heard until it does', async () => {
    const device = await signIn(node.url, region.regionId, { person })
    const [session] = [...node.rules.sessions.values()].filter(({ userId }) => userId === person.userId)
    device.socket.pause()
    const value = { token: new Uint8Array(200_000), expiresMs: 1n }
    const page = encodeHomeFrame(create(HomeFrameSchema, { notices: [{ what: { case: 'httpToken', value } }] }))
    while (session!.backlog() === 0) {
      session!.send(page)
      await new Promise(setImmediate)
    }
    while (session!.backlog() <= SOCKET_BACKLOG_HELD_BYTES) session!.send(page)
    const before = node.rules.frames.length
    device.send({ ping: 5 })
    // Another device that says something later is heard.
    const other = makePerson(region.regionId)
    await register(node.url, other)
    const talking = await signIn(node.url, region.regionId, { person: other })
    talking.send({ ping: 6 })
    await talking.until((frame) => frame.pong === 6)
    assert.equal(node.rules.frames.length, before + 1)
    device.socket.resume()
    await device.until((frame) => frame.pong === 5)
  })
})

describe('a client port without TLS that is not on loopback', () => {
  it('speaks sealed frames only, and ends the session at the first that does not open', async () => {
    const region = makeRegion()
    const node = await startNode(region, ['http://north.example:8080'])
    const person = makePerson(region.regionId)
    await register(node.url, person)
    const live = await signIn(node.url, region.regionId, { person, audience: 'http://north.example:8080' })
    assert.equal(live.plain, false)
    for (const ping of [1, 2, 3]) {
      live.send({ ping })
      await live.until((frame) => frame.pong === ping)
    }
    live.socket.send(encodeDeviceFrame(create(DeviceFrameSchema, { ping: 4 })))
    const end = await live.until((frame) => frame.refusal !== undefined)
    assert.equal(end.refusal?.code, 'malformed')
    await node.gateway[Symbol.asyncDispose]()
    await node.store[Symbol.asyncDispose]()
  })
})

describe('a client port that stops', () => {
  it('tells its sessions, lets nobody in, and leaves nothing behind', async () => {
    const region = makeRegion()
    const node = await startNode(region)
    const person = makePerson(region.regionId)
    await register(node.url, person)
    const live = await signIn(node.url, region.regionId, { person })
    const end = closed(live.socket)
    await node.gateway[Symbol.asyncDispose]()
    assert.equal((await live.until((frame) => frame.refusal !== undefined)).refusal?.code, 'closing')
    assert.deepEqual(await end, { status: 4_001, reason: 'closing' })
    assert.equal(node.rules.sessions.size, 0)
    await assert.rejects(fetch(`${node.url}/v1/health`))
    await node.store[Symbol.asyncDispose]()
  })
})
