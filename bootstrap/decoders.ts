// Every decoder of this folder, for the fuzzer. The service itself takes no body: what it lists it has from the DHT.
import { bytesOfText, type Decoder, textOf } from '#protocol/decoders'
import { type HostPort, hostPortText, parseHostPort } from './address.ts'

const ADDRESS_MAX_CHARS = 256

const hostPortDecoder: Decoder<HostPort> = {
  name: 'bootstrap/parseHostPort',
  covers: ['address.ts parseHostPort'],
  maxBytes: ADDRESS_MAX_CHARS,
  examples: () => ['127.0.0.1:4000', '[::1]:0', 'localhost:65535'].map(bytesOfText),
  decode: (bytes) => parseHostPort(textOf(bytes)),
  encode: (address) => bytesOfText(hostPortText(address)),
}

export const decoders = (): Decoder[] => [hostPortDecoder]
