// The database of a device in memory, with transactions and a plug to pull. For simulators and tests: what was not
// committed when it crashes is gone, what was committed is all there.
import {
  type DbReader,
  type DbWriter,
  type DeviceDb,
  type KeyValue,
  type ScanOptions,
  schema,
  type TableName,
  type Tables,
} from './schema.ts'

type AnyRow = Record<string, unknown>

const SHIFT = 2 ** 26

/** Texts and non-negative integers in an order that is that of their columns. A digit has 13 bits. */
function textOf(value: KeyValue): string {
  if (typeof value !== 'number') return value
  const high = Math.floor(value / SHIFT)
  const low = value % SHIFT
  return String.fromCharCode(1 + (high >>> 13), 1 + (high & 8191), 1 + (low >>> 13), 1 + (low & 8191))
}

function prefixOf(values: readonly KeyValue[]): string {
  let text = ''
  for (const value of values) text += `${textOf(value)}\0`
  return text
}

/** First place in `sorted` whose text is not below `text`. */
function lowerBound(sorted: readonly string[], text: string): number {
  let low = 0
  let high = sorted.length
  if (high > 0 && sorted[high - 1]! < text) return high
  while (low < high) {
    const middle = (low + high) >> 1
    if (sorted[middle]! < text) low = middle + 1
    else high = middle
  }
  return low
}

/** Key texts in order, and what they lead to. */
class Index {
  readonly #columns: readonly string[]
  readonly #sorted: string[] = []
  readonly #rows = new Map<string, AnyRow>()

  constructor(columns: readonly string[]) {
    this.#columns = columns
  }

  textOf(row: AnyRow): string {
    let text = ''
    for (const column of this.#columns) text += `${textOf(row[column] as KeyValue)}\0`
    return text
  }

  get(text: string): AnyRow | undefined {
    return this.#rows.get(text)
  }

  replace(before: AnyRow | undefined, after: AnyRow | undefined): void {
    const was = before && this.textOf(before)
    const is = after && this.textOf(after)
    if (was !== undefined && was !== is && this.#rows.delete(was)) {
      this.#sorted.splice(lowerBound(this.#sorted, was), 1)
    }
    if (after === undefined || is === undefined) return
    if (!this.#rows.has(is)) this.#sorted.splice(lowerBound(this.#sorted, is), 0, is)
    this.#rows.set(is, after)
  }

  scan({ prefix, from, reverse, limit }: ScanOptions): AnyRow[] {
    const start = prefixOf(prefix)
    const end = `${start}\uffff`
    const bound = from === undefined ? undefined : `${start}${textOf(from)}\0`
    let low = lowerBound(this.#sorted, !reverse && bound !== undefined ? bound : start)
    let high = lowerBound(this.#sorted, reverse && bound !== undefined ? `${bound}\uffff` : end)
    if (reverse) low = Math.max(low, high - limit)
    else high = Math.min(high, low + limit)
    const rows = this.#sorted.slice(low, high).map((text) => this.#rows.get(text)!)
    return reverse ? rows.reverse() : rows
  }
}

type Table = { readonly primary: Index; readonly others: ReadonlyMap<string, Index>; readonly all: readonly Index[] }

function newTable(name: TableName): Table {
  const { key, indexes } = schema[name]
  const primary = new Index(key)
  const others = new Map(Object.entries(indexes).map(([index, columns]) => [index, new Index(columns)]))
  return { primary, others, all: [primary, ...others.values()] }
}

export type MemoryDb = DeviceDb & {
  /** Ends this handle as a crash would; the answer is a new handle on what had been committed. */
  crash(): MemoryDb
  /** A handle on the same tables with another hook; the old one is not to be used any more. */
  hooked(beforeOperation: (operation: string) => void): MemoryDb
}

export type MemoryDbOptions = {
  /** Called before each operation, inside transactions too; what it throws is a crash at that place. */
  readonly beforeOperation: ((operation: string) => void) | undefined
}

function copy(row: AnyRow): AnyRow {
  const own = { ...row }
  for (const name in own) {
    const value = own[name]
    if (value instanceof Uint8Array) own[name] = value.slice()
  }
  return own
}

export function memoryDb(options: MemoryDbOptions = { beforeOperation: undefined }): MemoryDb {
  const tables = Object.fromEntries(Object.keys(schema).map((name) => [name, newTable(name as TableName)])) as Record<
    TableName,
    Table
  >
  return handle(tables, options)
}

function replace(table: Table, before: AnyRow | undefined, after: AnyRow | undefined): void {
  for (const index of table.all) index.replace(before, after)
}

function handle(tables: Record<TableName, Table>, options: MemoryDbOptions): MemoryDb {
  let crashed = false
  let undo: (() => void)[] | undefined
  const operation = (name: string): void => {
    if (crashed) throw new Error('the database has crashed')
    options.beforeOperation?.(name)
  }
  const reader: DbReader = {
    get(name, key) {
      operation(`get ${name}`)
      return tables[name].primary.get(prefixOf(key)) as Tables[typeof name] | undefined
    },
    scan(name, scan) {
      operation(`scan ${name}`)
      const index = scan.index === undefined ? tables[name].primary : tables[name].others.get(scan.index)
      if (!index) throw new Error(`no index ${scan.index} of ${name}`)
      return index.scan(scan) as Tables[typeof name][]
    },
  }
  const change = (name: TableName, text: string, after: AnyRow | undefined): void => {
    const before = tables[name].primary.get(text)
    replace(tables[name], before, after)
    undo?.push(() => replace(tables[name], after, before))
  }
  const writer: DbWriter = {
    ...reader,
    put(name, row) {
      operation(`put ${name}`)
      change(name, tables[name].primary.textOf(row as AnyRow), copy(row as AnyRow))
    },
    delete(name, key) {
      operation(`delete ${name}`)
      change(name, prefixOf(key), undefined)
    },
  }
  const rollback = (): void => {
    for (const step of (undo ?? []).reverse()) step()
    undo = undefined
  }
  return {
    ...reader,
    transaction(run) {
      if (undo) throw new Error('transactions do not nest')
      undo = []
      try {
        const result = run(writer)
        operation('commit')
        undo = undefined
        return result
      } catch (error) {
        rollback()
        throw error
      }
    },
    crash() {
      rollback()
      crashed = true
      return handle(tables, options)
    },
    hooked(beforeOperation) {
      crashed = true
      return handle(tables, { beforeOperation })
    },
  }
}
