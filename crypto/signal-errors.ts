// libsignal's errors in our words. Its messages are not passed on; the name of its code is, as a fact.
import { ErrorCode, LibSignalErrorBase } from '@signalapp/libsignal-client'
import { ParleyError } from '#protocol'

function factsOf(error: unknown): Record<string, string> {
  return error instanceof LibSignalErrorBase ? { signal: ErrorCode[error.code] ?? `${error.code}` } : {}
}

function common(error: unknown): ParleyError | undefined {
  if (error instanceof ParleyError) return error
  if (LibSignalErrorBase.is(error, ErrorCode.UntrustedIdentity)) {
    return new ParleyError('unsigned_device', 'the identity key is not the one that the manifest names')
  }
  // Anything else that is not libsignal's is a bug or a failing storage, and not to be taken for bad ciphertext.
  if (!(error instanceof LibSignalErrorBase)) throw error
  return undefined
}

export function decryptionError(error: unknown): ParleyError {
  const known = common(error)
  if (known) return known
  if (LibSignalErrorBase.is(error, ErrorCode.DuplicatedMessage)) {
    return new ParleyError('replayed', 'this message was decrypted before')
  }
  return new ParleyError('undecryptable', 'this message cannot be decrypted', factsOf(error))
}

export function encryptionError(error: unknown): ParleyError {
  return common(error) ?? new ParleyError('no_session', 'the session cannot be used any more', factsOf(error))
}

export function setUpError(error: unknown): ParleyError {
  return common(error) ?? new ParleyError('bad_signature', 'the prekeys are not signed by the device', factsOf(error))
}
