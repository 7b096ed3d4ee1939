// Exported functions whose names sound like decoding and that no decoder of the registry stands for, with the reason.

const OWN = {
  'protocol/submission-codec.ts': ['unpackSubmission'],
  'crypto/prekey-state.ts': ['readPrekeyState'],
  'relay/rules/conversation-rows.ts': ['readLagKey', 'readNumber', 'readHeld', 'loadConversation', 'readEntries'],
  'relay/rules/inbox.ts': ['readInboxRow'],
  'relay/rules/epochs.ts': ['readStored'],
  'relay/store/record.ts': ['readRecord', 'readCheckpoints', 'openRow'],
  'relay/store/read-into.ts': ['readInto'],
  'relay/store/segment.ts': ['readSegment'],
  'relay/store/log-rows.ts': ['readLogRow'],
  'relay/store/log-reads.ts': ['readEntries'],
  'client/account.ts': [
    'readSelf',
    'readDevice',
    'readAccount',
    'readOwnManifest',
    'readHomeRegion',
    'readBootstraps',
    'readOwnHead',
    'readResends',
  ],
  'client/registration.ts': ['readPending'],
  'client/rules/people.ts': ['openPeople'],
  'client/rules/rows.ts': ['openRows'],
  'client/rules/conversation.ts': ['openConversation', 'parseDevice', 'parseAuthor'],
}

const FILES = {
  'node/key.ts': ['loadOrCreateNodeKey'],
  'relay/secrets.ts': ['readSecret', 'readSecrets'],
  'relay/tls.ts': ['readTls'],
  'relay/config.ts': ['readConfig', 'loadConfig'],
  'client/commands/shared.ts': ['readPassphrase', 'openProfile', 'parseCount', 'parseSeconds'],
}

const OPENS = {
  'node/host.ts': ['openStream'],
  'node/storage.ts': ['openLevelStorage'],
  'node/record-table.ts': ['openRecordTable'],
  'node/node.ts': ['openAdmission'],
  'relay/gateway/gateway.ts': ['openGateway'],
  'relay/rules/bench.ts': ['openBench'],
  'relay/store/witness.ts': ['openWitness'],
  'relay/store/level.ts': ['openLevel'],
  'relay/store/segments.ts': ['openSegments'],
  'relay/store/store.ts': ['openStore'],
  'relay/stocking.ts': ['openStocking'],
  'client/session.ts': ['openSession'],
  'client/db/profile-file.ts': ['openProfileFile'],
  'client/rules/look-ups.ts': ['openLookUps'],
}

const DECODED = {
  'relay/rules/coming.ts': ['answerOf'],
  'crypto/content.ts': ['openContent'],
  'client/rules/retry.ts': ['answerRetry'],
  'client/rules/reader.ts': ['readRun', 'readBehindHole'],
  'client/rules/inbound.ts': ['readKept'],
}

const REASONS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  'rows of its own, behind checksums or encryption': OWN,
  'a file or an argument of whoever runs the program': FILES,
  'opens something and decodes nothing': OPENS,
  'works on what was decoded before': DECODED,
}

/** `folder/file.ts function` → reason. */
export const NOT_DECODERS: ReadonlyMap<string, string> = new Map(
  Object.entries(REASONS).flatMap(([reason, files]) =>
    Object.entries(files).flatMap(([file, names]) => names.map((name) => [`${file} ${name}`, reason] as const)),
  ),
)
