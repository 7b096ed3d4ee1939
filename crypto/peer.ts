import type { Device, UserId } from '#protocol'

/** A device of a person, as that person's manifest names it. */
export type PeerDevice = {
  readonly userId: UserId
  readonly device: number
  readonly registrationEpoch: number
  readonly registrationVersion: number
  /** libsignal public key, 33 bytes. */
  readonly identityKey: Uint8Array
  readonly signalRegistrationId: number
}

export function peerDevice(userId: UserId, device: Device): PeerDevice {
  return {
    userId,
    device: device.number,
    registrationEpoch: device.registrationEpoch,
    registrationVersion: device.registrationVersion,
    identityKey: device.signalIdentityKey,
    signalRegistrationId: device.signalRegistrationId,
  }
}
