// The HTTP half of the client port: Fastify with our schemas, our errors and the API's own description.
import Fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyTypeProvider,
  type RawReplyDefaultExpression,
  type RawRequestDefaultExpression,
  type RawServerDefault,
  type RouteOptions,
} from 'fastify'
import { ParleyError } from '#protocol'
import type { Static } from '../json-schema.ts'
import { HTTP_BODY_MAX_BYTES, HTTP_CHECK_MS, HTTP_HEADERS_MS, HTTP_KEEP_ALIVE_MS, HTTP_REQUEST_MS } from '../limits.ts'
import type { GatewayEvents, GatewayOptions, Reader } from './parts.ts'
import { errorBody, fromHttpError, statusOf } from './status.ts'

/** Node looks at its own time limits every 30 seconds: slow headers would live that much longer. */
const CHECKS = { connectionsCheckingInterval: HTTP_CHECK_MS }

/** Asked for each connection. A list instead would be copied for each, into a slab that lives as long as the connection. */
const ALPNCallback = ({ protocols }: { readonly protocols: readonly string[] }): string | undefined =>
  protocols.find((name) => name === 'http/1.1')

interface SchemaTypes extends FastifyTypeProvider {
  validator: Static<this['schema']>
  serializer: Static<this['schema']>
}

export type Http = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  SchemaTypes
>

declare module 'fastify' {
  interface FastifyRequest {
    /** Whom the token speaks for; only behind routes that ask for one. */
    reader: Reader | undefined
  }
}

const DESCRIPTION = `Records are base64 of their protobuf bytes (see the .proto files). Errors have the form
{"error": {"code", "message", "retry", "retryAfterMs", "facts"}}. The token comes from the session's sign-in.`

function handleErrors(http: Http, events: GatewayEvents): void {
  http.setErrorHandler((error: FastifyError | ParleyError, _request, reply) => {
    const known = error instanceof ParleyError ? error : fromHttpError(error)
    if (known) {
      if (known.retryAfterMs !== undefined) reply.header('retry-after', Math.ceil(known.retryAfterMs / 1_000))
      return reply.status(statusOf(known)).send(errorBody(known))
    }
    events.fault('http', error)
    const fault = new ParleyError(
      'overloaded',
      'this node could not answer; the operator finds the cause in its log',
      {},
      1_000,
    )
    return reply.status(500).send(errorBody(fault))
  })
  http.setNotFoundHandler((_request, reply) => {
    const error = new ParleyError('not_found', 'no such resource; /v1/openapi.json lists what there is')
    return reply.status(404).send(errorBody(error))
  })
}

/** Not listening yet; routes are added by the caller. */
export async function createHttp(
  events: GatewayEvents,
  { trustProxy, tls }: Pick<GatewayOptions, 'trustProxy' | 'tls'>,
): Promise<Http> {
  const options = {
    logger: false,
    // One hop: the address that the proxy itself saw, not what the client claims.
    trustProxy: trustProxy ? (_address: string, hop: number) => hop === 0 : false,
    bodyLimit: HTTP_BODY_MAX_BYTES,
    requestTimeout: HTTP_REQUEST_MS,
    keepAliveTimeout: HTTP_KEEP_ALIVE_MS,
    http: CHECKS,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 128 },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: 'array' as const, useDefaults: true } },
  }
  // An https server is an http server to everything here.
  const secure = tls ? { ...options, https: { cert: tls.cert, key: tls.key, ALPNCallback, ...CHECKS } } : options
  const http = Fastify(secure as typeof options).withTypeProvider<SchemaTypes>()
  http.server.headersTimeout = HTTP_HEADERS_MS
  http.decorateRequest('reader', undefined)
  http.addHook('onResponse', async (_request, reply) => events.answered(reply.statusCode))
  handleErrors(http, events)
  const routes: RouteOptions[] = []
  http.addHook('onRoute', (route) => void routes.push(route))
  let described: Promise<object> | undefined
  http.get('/v1/openapi.json', { schema: { hide: true } }, () => {
    described ??= describe(routes)
    return described
  })
  return http
}

/** Made when somebody asks: what describes routes is a tenth of the modules of a relay, which all starts would load. */
async function describe(routes: readonly RouteOptions[]): Promise<object> {
  const { default: swagger } = await import('@fastify/swagger')
  const described = Fastify({ exposeHeadRoutes: false })
  await described.register(swagger, {
    openapi: {
      info: { title: 'Parley relay', description: DESCRIPTION, version: '1' },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    },
  })
  for (const { method, url, schema } of routes)
    if (method !== 'HEAD') described.route({ method, url, ...(schema && { schema }), handler: () => undefined })
  await described.ready()
  return described.swagger()
}
