// A prekey bundle from a home, checked against the device that the manifest names, in libsignal's form.
import { KEMPublicKey, PreKeyBundle, PublicKey } from '@signalapp/libsignal-client'
import { ParleyError, type PrekeyBundle, userIdBytes } from '#protocol'
import { raw } from './bytes.ts'
import type { PeerDevice } from './peer.ts'

/** The identity key is the manifest's; a home has no say in it, and libsignal checks the signatures against it. */
export function readBundle(bundle: PrekeyBundle, peer: PeerDevice): PreKeyBundle {
  if (Buffer.compare(bundle.userId, userIdBytes(peer.userId)) !== 0 || bundle.device !== peer.device) {
    throw new ParleyError('unknown_device', 'the bundle is for another device', { device: `${bundle.device}` })
  }
  if (bundle.registrationEpoch !== peer.registrationEpoch || bundle.registrationVersion !== peer.registrationVersion) {
    throw new ParleyError('stale_manifest', 'the bundle is for another registration of this device', {
      registration: `${bundle.registrationEpoch}.${bundle.registrationVersion}`,
    })
  }
  const { signed, kyber, oneTime } = bundle
  if (!signed || !kyber) throw new ParleyError('malformed', 'a bundle without signed or Kyber prekey')
  try {
    return PreKeyBundle.new(
      peer.signalRegistrationId,
      peer.device,
      oneTime ? oneTime.id : null,
      oneTime ? PublicKey.deserialize(raw(oneTime.key)) : null,
      signed.id,
      PublicKey.deserialize(raw(signed.key)),
      raw(signed.signature),
      PublicKey.deserialize(raw(peer.identityKey)),
      kyber.id,
      KEMPublicKey.deserialize(raw(kyber.key)),
      raw(kyber.signature),
    )
  } catch {
    throw new ParleyError('malformed', 'a bundle with keys that are none')
  }
}
