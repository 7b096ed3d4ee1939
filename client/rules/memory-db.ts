// The database of a device in memory, with transactions and a plug to pull. For simulators and tests: what was not
// committed when it crashes is gone, what was committed is all there.
import { type Keyed, keyed } from './keyed.ts'
import {
  type DbReader,
  type DbTransaction,
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

/** A row as it is now, and its key text in each index of its table. */
type Holder = { row: AnyRow; readonly texts: string[] }

/** Key texts in order, and what they lead to. */
class Index {
  readonly #columns: readonly string[]
  readonly #sorted: string[] = []
  readonly #holders = new Map<string, Holder>()

  constructor(columns: readonly string[]) {
    this.#columns = columns
  }

  textOf(row: AnyRow): string {
    let text = ''
    for (const column of this.#columns) text += `${textOf(row[column] as KeyValue)}\0`
    return text
  }

  /** Both have the same text. */
  agree(a: AnyRow, b: AnyRow): boolean {
    for (const column of this.#columns) if (a[column] !== b[column]) return false
    return true
  }

  add(text: string, holder: Holder): void {
    this.#sorted.splice(lowerBound(this.#sorted, text), 0, text)
    this.#holders.set(text, holder)
  }

  remove(text: string): void {
    this.#holders.delete(text)
    this.#sorted.splice(lowerBound(this.#sorted, text), 1)
  }

  scan({ prefix, from, reverse, limit }: ScanOptions): AnyRow[] {
    const start = prefixOf(prefix)
    const end = `${start}\uffff`
    const bound = from === undefined ? undefined : `${start}${textOf(from)}\0`
    let low = lowerBound(this.#sorted, !reverse && bound !== undefined ? bound : start)
    let high = lowerBound(this.#sorted, reverse && bound !== undefined ? `${bound}\uffff` : end)
    if (reverse) low = Math.max(low, high - limit)
    else high = Math.min(high, low + limit)
    const rows = this.#sorted.slice(low, high).map((text) => this.#holders.get(text)!.row)
    return reverse ? rows.reverse() : rows
  }
}

type Table = {
  readonly key: readonly string[]
  /** The columns that hold bytes. */
  readonly blobs: readonly string[]
  readonly primary: Index
  readonly others: ReadonlyMap<string, Index>
  readonly all: readonly Index[]
}
/** Rows by key are looked up without a text of the key; texts are for scans. */
type Store = { readonly tables: Record<TableName, Table>; readonly holders: Keyed<Holder> }

function newTable(name: TableName): Table {
  const { columns, key, indexes } = schema[name]
  const primary = new Index(key)
  const others = new Map(Object.entries(indexes).map(([index, columns]) => [index, new Index(columns)]))
  const blobs = Object.entries(columns).flatMap(([column, type]) => (type === 'blob' ? [column] : []))
  return { key, blobs, primary, others, all: [primary, ...others.values()] }
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

/** As far as it can be told without comparing bytes. */
function isAs(row: AnyRow, was: AnyRow): boolean {
  for (const name in row) {
    const value = row[name]
    if (
      value instanceof Uint8Array ? (was[name] as Uint8Array | undefined)?.length !== value.length : value !== was[name]
    )
      return false
  }
  return true
}

/** Bytes that come from the row before are the table's own already. */
function copy(blobs: readonly string[], row: AnyRow, before: AnyRow | undefined): AnyRow {
  const own = { ...row }
  for (let i = 0; i < blobs.length; i++) {
    const value = row[blobs[i]!] as Uint8Array | undefined
    if (value !== undefined && before?.[blobs[i]!] !== value) own[blobs[i]!] = value.slice()
  }
  return own
}

export function memoryDb(options: MemoryDbOptions = { beforeOperation: undefined }): MemoryDb {
  const tables = Object.fromEntries(Object.keys(schema).map((name) => [name, newTable(name as TableName)])) as Record<
    TableName,
    Table
  >
  return handle({ tables, holders: keyed() }, options)
}

/** `holder`: of what is there under this key. The indexes whose columns do not change are left as they are. */
function replace(
  { tables, holders }: Store,
  name: TableName,
  key: readonly KeyValue[],
  holder: Holder | undefined,
  after: AnyRow | undefined,
): void {
  const { all } = tables[name]
  if (!after) {
    if (!holder) return
    for (let i = 0; i < all.length; i++) all[i]!.remove(holder.texts[i]!)
    holders.delete(name, key)
    return
  }
  if (!holder) {
    const added: Holder = { row: after, texts: all.map((index) => index.textOf(after)) }
    for (let i = 0; i < all.length; i++) all[i]!.add(added.texts[i]!, added)
    holders.set(name, key, added)
    return
  }
  for (let i = 1; i < all.length; i++) {
    if (all[i]!.agree(holder.row, after)) continue
    all[i]!.remove(holder.texts[i]!)
    holder.texts[i] = all[i]!.textOf(after)
    all[i]!.add(holder.texts[i]!, holder)
  }
  holder.row = after
}

type Change = { readonly name: TableName; readonly key: readonly KeyValue[]; readonly before: AnyRow | undefined }

function handle(store: Store, options: MemoryDbOptions): MemoryDb {
  const { tables, holders } = store
  let crashed = false
  let undo: Change[] | undefined
  const { beforeOperation } = options
  const operation = (what: string, table?: TableName): void => {
    if (crashed) throw new Error('the database has crashed')
    if (beforeOperation) beforeOperation(table ? `${what} ${table}` : what)
  }
  const reader: DbReader = {
    get(name, key) {
      operation('get', name)
      return holders.get(name, key)?.row as Tables[typeof name] | undefined
    },
    scan(name, scan) {
      operation('scan', name)
      const index = scan.index === undefined ? tables[name].primary : tables[name].others.get(scan.index)
      if (!index) throw new Error(`no index ${scan.index} of ${name}`)
      return index.scan(scan) as Tables[typeof name][]
    },
  }
  const change = (
    name: TableName,
    key: readonly KeyValue[],
    holder: Holder | undefined,
    row: AnyRow | undefined,
  ): void => {
    const before = holder?.row
    replace(store, name, key, holder, row && copy(tables[name].blobs, row, before))
    undo?.push({ name, key, before })
  }
  const keyOf = (name: TableName, row: AnyRow): KeyValue[] => {
    const key: KeyValue[] = []
    for (const column of tables[name].key) key.push(row[column] as KeyValue)
    return key
  }
  const writer: DbTransaction = {
    ...reader,
    put(name, row) {
      operation('put', name)
      const key = keyOf(name, row as AnyRow)
      change(name, key, holders.get(name, key), row as AnyRow)
    },
    replace(name, was, row) {
      const key = keyOf(name, was as AnyRow)
      const holder = holders.get(name, key)
      if (!holder || !isAs(holder.row, was as AnyRow)) throw new Error(`a row of ${name} is not as it was`)
      operation('put', name)
      change(name, key, holder, row as AnyRow)
    },
    delete(name, key) {
      operation('delete', name)
      change(name, key, holders.get(name, key), undefined)
    },
    deleteRun(name, prefix, from, to) {
      operation('delete', name)
      const { key, primary } = tables[name]
      for (const row of primary.scan({
        index: undefined,
        prefix,
        from,
        reverse: false,
        limit: Number.MAX_SAFE_INTEGER,
      })) {
        if ((row[key[prefix.length]!] as number) > to) break
        const its = keyOf(name, row)
        change(name, its, holders.get(name, its), undefined)
      }
    },
  }
  const rollback = (): void => {
    for (const { name, key, before } of (undo ?? []).reverse())
      replace(store, name, key, holders.get(name, key), before)
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
      return handle(store, options)
    },
    hooked(beforeOperation) {
      crashed = true
      return handle(store, { beforeOperation })
    },
  }
}
