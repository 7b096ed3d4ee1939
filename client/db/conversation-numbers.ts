// The id of a conversation stands in every row of a message and in its indexes, 62 characters each time: a third of what
// is written. In SQL it is a number there, given out when the conversation is first written about.
import type Database from '@signalapp/sqlcipher'
import type { Statement } from '@signalapp/sqlcipher'

export type ConversationNumbers = {
  /** Undefined: nothing has been written about it. */
  numberOf(conv: string): number | undefined
  /** Within a transaction. */
  ensure(conv: string): number
  convOf(number: number): string
  /** The end of a transaction: when it failed, the numbers given out in it are nobody's. */
  ended(committed: boolean): void
}

export function conversationNumbers(database: Database): ConversationNumbers {
  const numbers = new Map<string, number>()
  const convs = new Map<number, string>()
  const fresh: string[] = []
  const learn = (conv: string, number: number): void => {
    numbers.set(conv, number)
    convs.set(number, conv)
  }
  for (const row of database.prepare('SELECT number, conv FROM conversationNumbers').all([])) {
    learn(String(row.conv), Number(row.number))
  }
  let insert: Statement | undefined

  return {
    numberOf: (conv) => numbers.get(conv),
    ensure(conv) {
      const known = numbers.get(conv)
      if (known !== undefined) return known
      insert ??= database.prepare('INSERT INTO conversationNumbers (conv) VALUES (?)', {
        persistent: true,
      }) as Statement
      const number = insert.run([conv]).lastInsertRowid
      learn(conv, number)
      fresh.push(conv)
      return number
    },
    convOf(number) {
      const conv = convs.get(number)
      if (conv === undefined) throw new Error(`no conversation has the number ${number}`)
      return conv
    },
    ended(committed) {
      for (const conv of fresh.splice(0)) {
        if (committed) continue
        convs.delete(numbers.get(conv)!)
        numbers.delete(conv)
      }
    },
  }
}
