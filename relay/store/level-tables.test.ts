import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Level } from 'level'
import { crc32c, tablesIn, verifyTable } from './level-tables.ts'

test('CRC-32C has the values of RFC 3720', () => {
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa)
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43)
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e)
})

test('CRC-32C of any length, from anywhere in a buffer', () => {
  const bytes = Uint8Array.from({ length: 64 }, (_, i) => (i * 73 + 11) & 255)
  for (let from = 0; from < 9; from++) {
    for (let to = from; to <= bytes.length; to++) {
      let crc = 0xffffffff
      for (const byte of bytes.subarray(from, to)) {
        crc ^= byte
        for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
      }
      assert.equal(crc32c(bytes.subarray(from, to)), ~crc >>> 0, `${from} to ${to}`)
    }
  }
})

test('a table of level holds, and any flipped bit of its blocks is found', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'parley-tables-'))
  try {
    for (let boot = 0; boot < 2; boot++) {
      const database = new Level<string, string>(directory, { compression: false })
      for (let i = 0; i < 500; i++) await database.put(`key ${boot} ${i}`, 'some value '.repeat(10))
      await database.close()
    }
    const [name] = await tablesIn(directory)
    const table = await readFile(join(directory, name!))
    verifyTable(table)
    let unnoticed = 0
    for (let at = 0; at < table.length; at += 97) {
      table[at]! ^= 1 << (at & 7)
      try {
        verifyTable(table)
        unnoticed++
        // Only the padding of the footer means nothing.
        assert.ok(at >= table.length - 48, `at ${at} of ${table.length}`)
      } catch (error) {
        assert.ok(error instanceof Error && error.name !== 'AssertionError', String(error))
      }
      table[at]! ^= 1 << (at & 7)
    }
    assert.ok(unnoticed <= 1)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})
