// Tells code, strings and comments of a TypeScript source apart, and finds imports and functions in it. No parser: the
// native compiler has no interface for programs, and for house rules this much is enough.

type Literal = { readonly start: number; readonly end: number; readonly value: string }
export type Scanned = { readonly code: string; readonly literals: readonly Literal[] }

/** A `/` after one of these begins a regular expression; after anything else it divides. */
const BEFORE_REGEX = /(^|[=(,[!&|?:;{}+\-*%<>~^\n]|\b(return|typeof|case|in|of|do|else|void|await|yield))\s*$/

/** Blanks comments and the inside of strings and regular expressions, so that every position and line stays. */
export function scan(source: string): Scanned {
  const out = source.split('')
  const literals: Literal[] = []
  const blank = (from: number, to: number): void => {
    for (let i = from; i < to; i++) if (out[i] !== '\n') out[i] = ' '
  }
  const endOf = (from: number, quote: string): number => {
    let i = from
    let inClass = false
    for (; i < source.length; i++) {
      const c = source[i]
      if (c === '\\') i++
      else if (quote === '/' && c === '[') inClass = true
      else if (quote === '/' && c === ']') inClass = false
      else if ((c === quote && !inClass) || (c === '\n' && quote !== '`')) break
      else if (quote === '`' && c === '$' && source[i + 1] === '{') break
    }
    return i
  }
  /** Depths of braces at which a template goes on. */
  const templates: number[] = []
  let depth = 0
  const template = (from: number): number => {
    const end = endOf(from, '`')
    blank(from, end)
    if (source[end] !== '$') return end
    templates.push(depth++)
    return end + 1
  }
  for (let i = 0; i < source.length; i++) {
    const c = source[i]
    const two = source.slice(i, i + 2)
    if (two === '//' || two === '/*') {
      const end = two === '//' ? source.indexOf('\n', i) : source.indexOf('*/', i + 2) + 2
      const stop = end < i ? source.length : end
      blank(i, stop)
      i = stop - 1
    } else if (c === "'" || c === '"') {
      const end = endOf(i + 1, c)
      literals.push({ start: i, end, value: source.slice(i + 1, end) })
      blank(i + 1, end)
      i = end
    } else if (c === '`') i = template(i + 1)
    else if (c === '/' && BEFORE_REGEX.test(out.slice(Math.max(0, i - 40), i).join(''))) {
      const end = endOf(i + 1, '/')
      blank(i + 1, end)
      i = end
    } else if (c === '{') depth++
    else if (c === '}' && templates.at(-1) === --depth) {
      templates.pop()
      i = template(i + 1)
    }
  }
  return { code: out.join(''), literals }
}

export type Import = { readonly of: string; readonly line: number; readonly typesOnly: boolean; readonly lazy: boolean }

const lineAt = (text: string, position: number): number => text.slice(0, position).split('\n').length

function typesOnly(statement: string): boolean {
  if (/^(import|export)\s+type\b/.test(statement)) return true
  const names = /^(?:import|export)\s*\{([^}]*)\}\s*from\s*$/.exec(statement)?.[1]?.split(',') ?? ['']
  return names.filter((name) => name.trim() !== '').every((name) => /^\s*type\s/.test(name)) && names[0] !== ''
}

export function importsOf({ code, literals }: Scanned): Import[] {
  return literals.flatMap(({ start, value }): Import[] => {
    const before = code.slice(Math.max(0, start - 4_000), start)
    const line = lineAt(code, start)
    if (/\b(import|require|resolve)\s*\(\s*$/.test(before)) {
      return [{ of: value, line, typesOnly: /\btypeof\s+import\s*\(\s*$/.test(before), lazy: true }]
    }
    if (!/(\bfrom|\bimport)\s*$/.test(before)) return []
    const statement = /(?:^|\n)\s*((?:import|export)\b(?:(?!\n\s*(?:import|export)\b)[\s\S])*)$/.exec(before)?.[1] ?? ''
    return [{ of: value, line, typesOnly: typesOnly(statement), lazy: false }]
  })
}

/** Where the body of a function with parameters that end at `close` begins; undefined when this is no function. */
function bodyAfter(code: string, close: number): number | undefined {
  let i = close + 1
  const skip = (): void => {
    while (/\s/.test(code[i] ?? '')) i++
  }
  skip()
  if (code[i] === ':') {
    let depth = 0
    for (i++; i < code.length; i++) {
      const c = code[i] ?? ''
      if (
        depth === 0 &&
        (code.startsWith('=>', i) || (c === '{' && !/[:|&<,(=?]\s*$/.test(code.slice(0, i).slice(-20))))
      )
        break
      if ('<([{'.includes(c)) depth++
      else if ('>)]}'.includes(c) && code[i - 1] !== '=') depth--
      if (depth < 0 || (depth === 0 && (c === ';' || c === ','))) return undefined
    }
  }
  if (code.startsWith('=>', i)) {
    i += 2
    skip()
  }
  return code[i] === '{' ? i : undefined
}

type Measured = { readonly line: number; readonly lines: number }

/** Functions with the lines that are their own: those of functions inside them count for these alone. */
export function functionsOf(code: string): Measured[] {
  const bodies = new Map<number, number>()
  const parens: number[] = []
  for (let i = 0; i < code.length; i++) {
    if (code[i] === '(') parens.push(i)
    if (code.startsWith('=>', i)) {
      const body = /^=>\s*\{/.exec(code.slice(i, i + 200))
      if (body && !bodies.has(i + body[0].length - 1)) bodies.set(i + body[0].length - 1, i)
    }
    if (code[i] !== ')') continue
    const open = parens.pop() ?? 0
    if (/\b(if|for|while|switch|catch|with|await)\s*$/.test(code.slice(Math.max(0, open - 12), open))) continue
    const body = bodyAfter(code, i)
    if (body !== undefined) bodies.set(body, open)
  }
  const found: Measured[] = []
  const open: { body: boolean; start: number; inner: number }[] = []
  for (let i = 0; i < code.length; i++) {
    if (code[i] === '{') open.push({ body: bodies.has(i), start: lineAt(code, bodies.get(i) ?? i), inner: 0 })
    if (code[i] !== '}') continue
    const closed = open.pop()
    if (!closed) continue
    const lines = lineAt(code, i) - closed.start + 1
    const outer = open.at(-1)
    if (closed.body) found.push({ line: closed.start, lines: lines - closed.inner })
    if (outer) outer.inner += closed.body ? Math.max(0, lines - 1) : closed.inner
  }
  return found
}
