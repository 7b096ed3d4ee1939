// The list from which a client that knows nobody picks its way in.
import { toBinary } from '@bufbuild/protobuf'
import Fastify, { type FastifyInstance } from 'fastify'
import type { ParleyNode } from '#node'
import { type Clock, limits, ParleyError, SignedRecordSchema } from '#protocol'
import { type HostPort, hostPortText } from './address.ts'
import { BODY_MAX_BYTES, LIST_KEPT_MS, REQUEST_MAX_MS } from './limits.ts'

export type RegionList = AsyncDisposable & { readonly url: string }

/** `GET /v1/regions` and `GET /v1/health`. Throws `bad_argument` when the address cannot be listened on. */
export async function serveRegionList(node: ParleyNode, listen: HostPort, clock: Clock): Promise<RegionList> {
  const app = Fastify({
    bodyLimit: BODY_MAX_BYTES,
    requestTimeout: REQUEST_MAX_MS,
    connectionTimeout: REQUEST_MAX_MS,
    forceCloseConnections: true,
  })
  addRoutes(app, node, clock)
  const where = hostPortText(listen)
  try {
    await app.listen({ host: listen.host, port: listen.port })
  } catch (error) {
    await app.close()
    throw listenError(error, where)
  }
  const address = app.server.address()
  const port = typeof address === 'object' && address ? address.port : listen.port
  return { url: `http://${hostPortText({ host: listen.host, port })}`, [Symbol.asyncDispose]: () => app.close() }
}

function addRoutes(app: FastifyInstance, node: ParleyNode, clock: Clock): void {
  let kept: { readonly until: number; readonly regions: Promise<string[]> } | undefined
  const list = (): Promise<string[]> => {
    const now = clock.monotonic()
    if (!kept || kept.until < now) kept = { until: now + LIST_KEPT_MS, regions: collect(node) }
    return kept.regions
  }
  // Public and the same for everybody: a page in a browser may read it too.
  app.addHook('onSend', async (_request, reply) => void reply.header('access-control-allow-origin', '*'))
  app.get('/v1/regions', async () => ({ regions: await list(), multiaddrs: node.multiaddrs(), timeMs: clock.now() }))
  app.get('/v1/health', async () => ({ status: 'ok', peers: node.peers().length, timeMs: clock.now() }))
  app.setNotFoundHandler((_request, reply) => {
    void reply.code(404).send({ error: { code: 'not_found', message: 'no such page', retry: false, facts: {} } })
  })
}

async function collect(node: ParleyNode): Promise<string[]> {
  const regions = await node.directory.regions(limits.REGIONS_LISTED_MAX)
  return regions.map((region) => Buffer.from(toBinary(SignedRecordSchema, region.record)).toString('base64'))
}

function listenError(error: unknown, where: string): unknown {
  const code = (error as NodeJS.ErrnoException).code
  const facts = { address: where }
  if (code === 'EADDRINUSE')
    return new ParleyError(
      'bad_argument',
      `the HTTP address ${where} is in use: choose another port, or stop what listens there`,
      facts,
    )
  if (code === 'EACCES')
    return new ParleyError('bad_argument', `no rights to listen on ${where}: choose a port above 1023`, facts)
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
    return new ParleyError('bad_argument', `${where} is no address of this machine`, facts)
  return error
}
