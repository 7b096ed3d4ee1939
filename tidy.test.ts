// Style that can be checked is checked here: who may import whom, how long things may grow, which calls have a better
// replacement, which words stay out, and what the package pins.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'
import { functionsOf, type Import, importsOf, type Scanned, scan } from './tidy-scan.ts'

const FILE_LINES_MAX = 400
const FUNCTION_LINES_MAX = 70
const WS_MIN = '8.23.0'
const KAD_DHT_MIN = '16.4.5'

/** Who may import which other folder. `parley.ts` and the tests at the root count as the folder ''. */
const WALLS: Readonly<Record<string, readonly string[]>> = {
  '': ['#protocol'],
  protocol: [],
  crypto: ['#protocol', '#protocol/decoders'],
  node: ['#protocol', '#protocol/decoders'],
  relay: ['#protocol', '#protocol/decoders', '#node', '#node/region'],
  client: ['#protocol', '#protocol/decoders', '#crypto'],
  bootstrap: ['#protocol', '#protocol/decoders', '#node', '#node/region'],
  testnet: [
    '#manifest',
    '#protocol',
    '#protocol/decoders',
    '#crypto',
    '#crypto/decoders',
    '#node',
    '#node/decoders',
    '#node/hostile',
    '#node/region',
    '#relay',
    '#relay/decoders',
    '#relay/rules',
    '#client',
    '#client/decoders',
    '#client/rules',
    '#bootstrap',
    '#bootstrap/decoders',
  ],
}

/** What a folder tells the fuzzer about itself: reached by nothing else, and free to use what its tests use. */
const isDecoders = (path: string): boolean => /^[a-z]+\/decoders[\w-]*\.ts$/.test(path)

/** Packages that only some folders may touch. */
const OWNERS: readonly { readonly packages: RegExp; readonly folders: readonly string[] }[] = [
  { packages: /^@signalapp\/libsignal-client/, folders: ['crypto'] },
  { packages: /^@signalapp\/sqlcipher/, folders: ['client'] },
  { packages: /^(libp2p$|@libp2p\/|@chainsafe\/libp2p|@multiformats\/)/, folders: ['node'] },
  { packages: /^level$/, folders: ['relay', 'node', 'bootstrap', 'testnet'] },
  { packages: /^(fastify$|@fastify\/)/, folders: ['relay', 'bootstrap'] },
]

/** Install scripts never run (.npmrc); these packages bring one and work without it, from what they ship. */
const SCRIPTS_NOT_NEEDED = [
  '@bufbuild/buf',
  '@signalapp/libsignal-client',
  '@signalapp/sqlcipher',
  'cborg',
  'classic-level',
]

const isTest = (path: string): boolean => /\.(test|long)\.ts$/.test(path)
/** Test code that knows it runs in real time. */
const isSupport = (path: string): boolean => isTest(path) || /(^|\/)(test-[\w-]+|fixtures)\.ts$/.test(path)
const isProgram = (path: string): boolean =>
  path === 'parley.ts' ||
  /(^|\/)commands(\.ts|\/)/.test(path) ||
  /^testnet\/(main-job|chaos\.ts|sim|bench|fuzz|stress|clients\/device)/.test(path)

type Ban = { readonly call: RegExp; readonly instead: string; readonly allowed: (path: string) => boolean }

const BANS: readonly Ban[] = [
  {
    call: /\bDate\.now\b|\bnew Date\(\s*\)/,
    instead: 'Clock.now()',
    allowed: (path) => path === 'protocol/clock.ts' || isSupport(path),
  },
  { call: /\bperformance\.now\b/, instead: 'Clock.monotonic()', allowed: (path) => path === 'protocol/clock.ts' },
  { call: /\bMath\.random\b/, instead: 'Random', allowed: () => false },
  { call: /\bset(Timeout|Interval)\b/, instead: 'Clock.after()', allowed: (path) => path === 'protocol/clock.ts' },
  {
    call: /\bconsole\.\w+/,
    instead: 'events, or output of a command',
    allowed: (path) => isProgram(path) || isTest(path),
  },
  { call: /\bas any\b|:\s*any\b|<any>/, instead: 'unknown and a check', allowed: () => false },
  { call: /\b(test|it|describe|suite)\.(only|skip|todo)\b/, instead: 'a test that runs', allowed: () => false },
  { call: /\bprocess\.exit\(/, instead: 'process.exitCode and an empty loop', allowed: isProgram },
  { call: /@ts-(ignore|nocheck)/, instead: 'a type that holds', allowed: () => false },
]

/** Joined here, so that this file does not contain them. */
const WORDS: readonly RegExp[] = [
  ['/wo', 'rk/'],
  ['/tmp/par', 'ley/'],
  ['/ro', 'ot/'],
  ['//[\\w.-]*regi', 'stry|regi', 'stry\\.(npm|yarn)'],
  ['TO', 'DO\\b'],
  ['FIX', 'ME\\b'],
  ['\\bissue', ' #?\\d'],
  ['\\b(Clau', 'de|Chat', 'GPT|Co', 'pilot|L', 'LM)\\b'],
].map((parts) => new RegExp(parts.join('')))

// ---------------------------------------------------------------- the rules

type Source = Scanned & { readonly path: string; readonly text: string; readonly imports: readonly Import[] }

function sourceOf(path: string, text: string): Source {
  const scanned = scan(text)
  return { ...scanned, path, text, imports: importsOf(scanned) }
}

const folderOf = (path: string): string => (path.includes('/') ? (path.split('/')[0] ?? '') : '')

function relativeImportFaults(path: string, it: Import): string[] {
  const target = normalize(join(dirname(path), it.of))
  if (target === 'parley.ts') return ['nothing imports parley.ts']
  const faults: string[] = []
  if (folderOf(target) !== folderOf(path) && path !== 'parley.ts') faults.push(`reaches into another folder: ${it.of}`)
  if (path === 'parley.ts' && folderOf(target) !== '' && !(/^[a-z]+\/commands\.ts$/.test(target) && it.lazy)) {
    faults.push(`may import other folders' commands.ts only, and lazily: ${it.of}`)
  }
  if (path !== 'parley.ts' && /(^|\/)commands\.ts$/.test(target)) faults.push('only parley.ts imports commands.ts')
  return faults
}

function importFaults(path: string, it: Import): string[] {
  const folder = folderOf(path)
  if (it.of.startsWith('.')) return relativeImportFaults(path, it)
  if (it.of.startsWith('#')) {
    const mine = it.of === `#${folder}` || (isTest(path) && it.of === '#testnet')
    const wrongPlace = it.of === '#protocol/decoders' && folder !== 'testnet' && !isDecoders(path)
    const allowed = mine || (WALLS[folder]?.includes(it.of) && !wrongPlace)
    return allowed ? [] : [`${folder || 'the root'} may not import ${it.of}`]
  }
  if (isBuiltin(it.of)) return it.of.startsWith('node:') ? [] : [`write node:${it.of}`]
  return OWNERS.filter((owner) => owner.packages.test(it.of) && !owner.folders.includes(folder)).map(
    (owner) => `only ${owner.folders.join(' and ')} may import ${it.of}`,
  )
}

/** A checker that ran the code under test could share its mistakes. */
function checkerFaults(path: string, it: Import): string[] {
  if (!/^testnet\/(.*\/)?checkers?[/.-]/.test(path) || isTest(path) || it.typesOnly || !it.of.startsWith('#')) return []
  return [`a checker imports types only: ${it.of}`]
}

function faultsOf({ path, text, code, imports }: Source): string[] {
  if (path.startsWith('protocol/gen/')) return []
  const faults: string[] = []
  const lines = text.split('\n').length - 1
  if (lines > FILE_LINES_MAX) faults.push(`${path}: ${lines} lines, at most ${FILE_LINES_MAX}`)
  for (const it of imports) {
    for (const fault of [...importFaults(path, it), ...checkerFaults(path, it)])
      faults.push(`${path}:${it.line}: ${fault}`)
  }
  for (const { line, lines: own } of functionsOf(code)) {
    if (own > FUNCTION_LINES_MAX)
      faults.push(`${path}:${line}: a function of ${own} lines, at most ${FUNCTION_LINES_MAX}`)
  }
  code.split('\n').forEach((line, i) => {
    for (const ban of BANS) {
      if (!ban.allowed(path) && ban.call.test(line))
        faults.push(`${path}:${i + 1}: ${ban.call.exec(line)?.[0]}: use ${ban.instead}`)
    }
  })
  return faults
}

const root = import.meta.dirname
const SKIPPED = ['node_modules', '.git', 'coverage', '.parley']

function filesBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return SKIPPED.includes(entry.name) ? [] : filesBelow(path)
    return entry.isFile() ? [path] : []
  })
}

const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const files = filesBelow('')

function none(faults: readonly string[]): void {
  assert.equal(faults.length, 0, `\n${faults.join('\n')}`)
}

test('folder walls, lengths and banned calls', () => {
  const sources = files.filter((path) => path.endsWith('.ts'))
  assert.ok(sources.length > 20, 'the walk found the sources')
  none(sources.flatMap((path) => faultsOf(sourceOf(path, read(path)))))
})

const strayWords = (text: string): { line: number; word: string }[] =>
  text
    .split('\n')
    .flatMap((line, i) => WORDS.flatMap((word) => ({ line: i + 1, word: word.exec(line)?.[0] ?? '' })))
    .filter((it) => it.word)

test('no word that must stay out of the project', () => {
  const texts = files.filter((path) => /\.(ts|mjs|md|json|toml|ya?ml|proto|sh)$|^\.ci\/|^\.npmrc$/.test(path))
  none(texts.flatMap((path) => strayWords(read(path)).map(({ line, word }) => `${path}:${line}: ${word}`)))
  const planted = `// ${'TO'}DO\nfine\nhttps://regi${'stry.npmjs.org'}/x\nsee issue ${3}\n/wo${'rk/x'}`
  assert.deepEqual(
    strayWords(planted).map((it) => it.line),
    [1, 3, 4, 5],
  )
})

// ---------------------------------------------------------------- the package

type Locked = {
  optionalDependencies?: Record<string, string>
  version?: string
  integrity?: string
  resolved?: string
  hasInstallScript?: boolean
  link?: boolean
}

function newEnough(version: string, least: string): boolean {
  const parts = (text: string): number[] => text.split('.').map(Number)
  const [a, b] = [parts(version), parts(least)]
  const i = a.findIndex((part, at) => part !== b[at])
  return i < 0 || (a[i] ?? 0) > (b[i] ?? 0)
}

function lockFaults(packages: Readonly<Record<string, Locked>>): string[] {
  return Object.entries(packages).flatMap(([path, it]) => {
    if (path === '') return []
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
    const missing = Object.keys(it.optionalDependencies ?? {}).find(
      (optional) => !(`node_modules/${optional}` in packages),
    )
    const least = { ws: WS_MIN, '@libp2p/kad-dht': KAD_DHT_MIN }[name]
    return [
      !it.integrity?.startsWith('sha512-') && `${path}: no integrity`,
      it.resolved !== undefined && `${path}: names a host`,
      missing && `${path}: lists ${missing}, which has no entry, so npm ci refuses: take it off the list`,
      it.link && `${path}: a link`,
      it.hasInstallScript && !SCRIPTS_NOT_NEEDED.includes(name) && `${path}: an install script nobody has looked at`,
      least && !newEnough(it.version ?? '0', least) && `${path}: ${it.version}, at least ${least}`,
    ].filter((fault) => typeof fault === 'string')
  })
}

test('the lock file: integrity everywhere, no host, known install scripts, minimum versions', () => {
  const lock = JSON.parse(read('package-lock.json'))
  assert.equal(lock.lockfileVersion, 3)
  assert.ok(Object.keys(lock.packages).length > 50)
  none(lockFaults(lock.packages))
})

test('the package: exact pins, no install scripts, the licence, overrides', () => {
  const manifest = JSON.parse(read('package.json'))
  const pins = { ...manifest.dependencies, ...manifest.devDependencies, ...manifest.optionalDependencies }
  none(
    Object.entries(pins).flatMap(([name, range]) =>
      /^\d+\.\d+\.\d+$/.test(String(range)) ? [] : [`${name}: ${range}`],
    ),
  )
  assert.match(read('.npmrc'), /^ignore-scripts=true$/m)
  assert.equal(manifest.license, 'AGPL-3.0-only')
  assert.match(read('LICENSE'), /GNU AFFERO GENERAL PUBLIC LICENSE\s+Version 3/)
  assert.equal(manifest.overrides.ws, '$ws')
  assert.deepEqual(Object.keys(manifest.imports).sort(), [...(WALLS.testnet ?? []), '#testnet'].sort())
})

// ---------------------------------------------------------------- the rules can fail

const faultsIn = (path: string, text: string): string[] => faultsOf(sourceOf(path, text))

test('the scanner tells code, strings and comments apart', () => {
  const source = [
    `// Date.now()`,
    `/* Math.random() */ const a = 'Date.now()' + "it's" + /['"\`/]{2}/.source`,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: food for the scanner
    'const b = `Date.now() ${ `${ c } Math.random()` } setTimeout`; const d = e / f / g',
    `const h = '\\'Date.now()'`,
    `const real = Date.now()`,
  ].join('\n')
  assert.deepEqual(faultsIn('relay/a.ts', source), ['relay/a.ts:5: Date.now: use Clock.now()'])
  assert.deepEqual(
    // biome-ignore lint/suspicious/noTemplateCurlyInString: food for the scanner
    faultsIn('relay/a.ts', 'const a = `${ b.map(() => { return { x: `}` } }) }`; setTimeout(f, 1)').length,
    1,
  )
  assert.equal(scan(source).code.length, source.length)
})

test('each planted fault is found, and its honest twin is not', () => {
  const planted: readonly [path: string, text: string][] = [
    ['relay/a.ts', `import { x } from '#client'`],
    ['relay/a.ts', `import {\n  x,\n} from '#crypto'`],
    ['relay/a.ts', `export { x } from '#testnet'`],
    ['relay/a.ts', `import type { X } from '#client'`],
    ['node/a.ts', `import { x } from '#relay'`],
    ['protocol/a.ts', `import { x } from '#node'`],
    ['client/a.ts', `import { x } from '#bootstrap'`],
    ['client/a.ts', `import { x } from '#relay/rules'`],
    ['client/a.ts', `const x = await import('#relay')`],
    ['client/deep/a.ts', `import { x } from '../../relay/index.ts'`],
    ['client/a.ts', `import { x } from './commands.ts'`],
    ['client/a.ts', `import '../parley.ts'`],
    ['client/a.ts', `import * as signal from '@signalapp/libsignal-client'`],
    ['crypto/a.ts', `import sql from '@signalapp/sqlcipher'`],
    ['relay/a.ts', `import { ping } from '@libp2p/ping'`],
    ['relay/a.ts', `import { readFile } from 'fs'`],
    ['relay/a.ts', `import { decoders } from '#protocol/decoders'`],
    ['parley.ts', `import { registerCommands } from './relay/commands.ts'`],
    ['parley.ts', `const x = await import('./relay/index.ts')`],
    ['testnet/checkers/order.ts', `import { x, type Y } from '#protocol'`],
    ['relay/a.ts', `setInterval(f, 1)`],
    ['relay/a.ts', `const x = Math.random()`],
    ['relay/a.ts', `const x = new Date()`],
    ['relay/a.ts', `console.log(1)`],
    ['relay/a.ts', `const x = y as any`],
    ['relay/a.test.ts', `test.only('x', () => {})`],
    ['relay/a.ts', 'x\n'.repeat(FILE_LINES_MAX + 1)],
    ['relay/a.ts', `function f() {\n${'  x()\n'.repeat(FUNCTION_LINES_MAX)}}\n`],
    ['relay/a.ts', `async function f(a: { b: C }): Promise<{ c: D }> {\n${'  x()\n'.repeat(FUNCTION_LINES_MAX)}}\n`],
    ['relay/a.ts', `const f = a.map(async (x) => {\n${'  if (x) { y() }\n'.repeat(FUNCTION_LINES_MAX)}})\n`],
    ['relay/a.ts', `class A {\n  #m(a = (1)): Map<A, B> {\n${'  x()\n'.repeat(FUNCTION_LINES_MAX)}}}\n`],
  ]
  for (const [path, text] of planted) assert.equal(faultsIn(path, text).length, 1, text.slice(0, 80))
  const honest: readonly [path: string, text: string][] = [
    ['relay/a.ts', `import { x } from '#node'\nimport { y } from './b.ts'\nimport z from 'node:fs'`],
    ['relay/a.test.ts', `import { x } from '#testnet'`],
    ['testnet/a.ts', `import { x } from '#relay/rules'`],
    ['relay/decoders.ts', `import { decoders } from '#protocol/decoders'`],
    ['testnet/checkers/order.ts', `import type { X } from '#protocol'\nimport { type Y } from '#relay'`],
    ['parley.ts', `const x = () => import('./relay/commands.ts')`],
    ['protocol/clock.ts', `setTimeout(f, Date.now())`],
    ['relay/commands.ts', `console.log(1)`],
    ['relay/a.ts', `function f() {\n  const g = () => {\n${'    x()\n'.repeat(60)}  }\n${'  x()\n'.repeat(60)}}\n`],
    ['relay/a.ts', `const a = b ? f(x) : c\nif (d) {\n${'  x()\n'.repeat(60)}}\n`],
  ]
  for (const [path, text] of honest) assert.deepEqual(faultsIn(path, text), [], text.slice(0, 80))
})

test('a lock entry without integrity, with a host, an unknown script or an old version is found', () => {
  const good = { version: '8.23.0', integrity: 'sha512-x' }
  assert.deepEqual(lockFaults({ '': {}, 'node_modules/ws': good }), [])
  for (const bad of [
    { integrity: '' },
    { resolved: 'https://host/ws.tgz' },
    { hasInstallScript: true },
    { optionalDependencies: { b: '1.0.0' } },
    { version: '8.18.9' },
  ]) {
    assert.equal(lockFaults({ 'node_modules/a/node_modules/ws': { ...good, ...bad } }).length, 1, JSON.stringify(bad))
  }
})
