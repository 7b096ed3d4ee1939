// The encrypted database's layout, one step a version. A step that has been released is never edited; a new one is added.
import type Database from '@signalapp/sqlcipher'

const STEPS: readonly string[] = [
  `
  CREATE TABLE self (name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (name)) WITHOUT ROWID, STRICT;
  CREATE TABLE contacts (
    user TEXT NOT NULL, name TEXT NOT NULL, accepted INTEGER NOT NULL, verified INTEGER NOT NULL, home BLOB, manifest BLOB,
    PRIMARY KEY (user)
  ) STRICT;
  CREATE TABLE devices (
    user TEXT NOT NULL, device TEXT NOT NULL, identityKey BLOB NOT NULL, signalRegistrationId INTEGER NOT NULL,
    gone INTEGER NOT NULL, PRIMARY KEY (user, device)
  ) WITHOUT ROWID, STRICT;
  CREATE TABLE conversations (
    conv TEXT NOT NULL, genesis BLOB NOT NULL, cursor INTEGER NOT NULL, hash BLOB NOT NULL, lastK INTEGER NOT NULL,
    burnt INTEGER NOT NULL, stateKey BLOB, stateKeyK INTEGER NOT NULL, delivered INTEGER NOT NULL,
    peerRead INTEGER NOT NULL, ownRead INTEGER NOT NULL, ownReadTold INTEGER NOT NULL, asked INTEGER NOT NULL,
    PRIMARY KEY (conv)
  ) STRICT;
  CREATE TABLE outbox (
    conv TEXT NOT NULL, k INTEGER NOT NULL, state TEXT NOT NULL, rev INTEGER NOT NULL, skipRev INTEGER NOT NULL,
    stands TEXT, tag BLOB NOT NULL, skipTag BLOB, at INTEGER NOT NULL, PRIMARY KEY (conv, k)
  ) WITHOUT ROWID, STRICT;
  CREATE TABLE sealed (conv TEXT NOT NULL, k INTEGER NOT NULL, submission BLOB NOT NULL, PRIMARY KEY (conv, k)) STRICT;
  CREATE TABLE messages (
    conv TEXT NOT NULL, author TEXT NOT NULL, k INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
    body BLOB NOT NULL, status TEXT NOT NULL, code TEXT NOT NULL, timeMs INTEGER NOT NULL, answered INTEGER NOT NULL,
    PRIMARY KEY (conv, author, k)
  ) STRICT;
  CREATE INDEX messages_place ON messages (conv, at, author, k);
  CREATE TABLE entries (
    conv TEXT NOT NULL, at INTEGER NOT NULL, header BLOB NOT NULL, PRIMARY KEY (conv, at)
  ) WITHOUT ROWID, STRICT;
  CREATE TABLE unread (
    conv TEXT NOT NULL, at INTEGER NOT NULL, author TEXT NOT NULL, k INTEGER NOT NULL, part BLOB NOT NULL,
    reason TEXT NOT NULL, asks INTEGER NOT NULL, PRIMARY KEY (conv, at)
  ) STRICT;
  CREATE INDEX unread_author ON unread (conv, author, k);
  CREATE TABLE stateKeys (
    conv TEXT NOT NULL, at INTEGER NOT NULL, key BLOB NOT NULL, PRIMARY KEY (conv, at)
  ) WITHOUT ROWID, STRICT;
  CREATE TABLE jobs (
    name TEXT NOT NULL, conv TEXT NOT NULL, line INTEGER NOT NULL, k INTEGER NOT NULL, PRIMARY KEY (name)
  ) WITHOUT ROWID, STRICT;
  CREATE TABLE keys (kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, key)) STRICT;
  `,
  `
  CREATE TABLE conversationNumbers (number INTEGER PRIMARY KEY, conv TEXT NOT NULL UNIQUE) STRICT;
  INSERT INTO conversationNumbers (conv) SELECT conv FROM outbox UNION SELECT conv FROM sealed UNION
    SELECT conv FROM messages UNION SELECT conv FROM entries;

  ALTER TABLE outbox RENAME TO formerOutbox;
  CREATE TABLE outbox (
    conv INTEGER NOT NULL, k INTEGER NOT NULL, state TEXT NOT NULL, rev INTEGER NOT NULL, skipRev INTEGER NOT NULL,
    stands TEXT, tag BLOB NOT NULL, skipTag BLOB, at INTEGER NOT NULL, PRIMARY KEY (conv, k)
  ) WITHOUT ROWID, STRICT;
  INSERT INTO outbox SELECT number, k, state, rev, skipRev, stands, tag, skipTag, at
    FROM formerOutbox JOIN conversationNumbers USING (conv) ORDER BY number, k;
  DROP TABLE formerOutbox;

  ALTER TABLE sealed RENAME TO formerSealed;
  CREATE TABLE sealed (
    conv INTEGER NOT NULL, k INTEGER NOT NULL, submission BLOB NOT NULL, PRIMARY KEY (conv, k)
  ) WITHOUT ROWID, STRICT;
  INSERT INTO sealed SELECT number, k, submission
    FROM formerSealed JOIN conversationNumbers USING (conv) ORDER BY number, k;
  DROP TABLE formerSealed;

  DROP INDEX messages_place;
  ALTER TABLE messages RENAME TO formerMessages;
  CREATE TABLE messages (
    conv INTEGER NOT NULL, author TEXT NOT NULL, k INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
    body BLOB NOT NULL, status TEXT NOT NULL, code TEXT NOT NULL, timeMs INTEGER NOT NULL, answered INTEGER NOT NULL,
    PRIMARY KEY (conv, author, k)
  ) STRICT;
  INSERT INTO messages SELECT number, author, k, at, kind, body, status, code, timeMs, answered
    FROM formerMessages JOIN conversationNumbers USING (conv) ORDER BY number, author, k;
  DROP TABLE formerMessages;
  CREATE INDEX messages_place ON messages (conv, at, author, k);

  ALTER TABLE entries RENAME TO formerEntries;
  CREATE TABLE entries (
    conv INTEGER NOT NULL, at INTEGER NOT NULL, header BLOB NOT NULL, PRIMARY KEY (conv, at)
  ) WITHOUT ROWID, STRICT;
  INSERT INTO entries SELECT number, at, header
    FROM formerEntries JOIN conversationNumbers USING (conv) ORDER BY number, at;
  DROP TABLE formerEntries;
  `,
  `
  CREATE TABLE hosts (
    conv TEXT NOT NULL, epoch INTEGER NOT NULL, register BLOB NOT NULL, PRIMARY KEY (conv, epoch)
  ) STRICT;
  CREATE TABLE voided (
    conv TEXT NOT NULL, author TEXT NOT NULL, k INTEGER NOT NULL, tag BLOB NOT NULL, waits INTEGER NOT NULL,
    wasRead INTEGER NOT NULL, PRIMARY KEY (conv, author, k)
  ) WITHOUT ROWID, STRICT;
  `,
]

export const LAYOUT_VERSION = STEPS.length

/** Brings an open database to this program's layout, all in one transaction; a newer layout is refused by the caller. */
export function migrate(database: Database, to: number = LAYOUT_VERSION): void {
  const version = layoutOf(database)
  if (version >= to) return
  database.transaction(() => {
    for (const step of STEPS.slice(version, to)) database.exec(step)
    database.pragma(`user_version = ${to}`)
  })()
}

export function layoutOf(database: Database): number {
  return Number(database.pragma('user_version', { simple: true }))
}
