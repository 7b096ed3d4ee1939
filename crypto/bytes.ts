// libsignal's types ask for arrays over plain ArrayBuffers; ours are never shared memory.
export function raw(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes as Uint8Array<ArrayBuffer>
}
