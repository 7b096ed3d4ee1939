// Which manifest may follow which. A manifest that opened (signatures, grant, root) is only a candidate: it must also
// be the next in the account's history, so that nobody rolls an account back or slips a device in.
import { compareVersions, type Home, type Manifest, ParleyError, type RegionId } from '#protocol'

type Device = Manifest['devices'][number]

/** `same`: nothing to do, the same manifest again. Throws `too_old` or `conflict`. */
export function compareManifests(current: Manifest, next: Manifest): 'same' | 'newer' {
  const order = compareVersions(next, current)
  const facts = { newest: `${current.rootEpoch}.${current.version}`, given: `${next.rootEpoch}.${next.version}` }
  if (order < 0) throw new ParleyError('too_old', 'a newer manifest of this account is known', facts)
  if (order > 0) return 'newer'
  if (Buffer.compare(current.hash, next.hash) !== 0) {
    throw new ParleyError('conflict', 'another manifest of the same version is known', facts)
  }
  return 'same'
}

const registrationOf = (device: Device) => ({
  rootEpoch: device.registrationEpoch,
  version: device.registrationVersion,
})

function sameKeys(a: Device, b: Device): boolean {
  return (
    Buffer.compare(a.deviceKey, b.deviceKey) === 0 &&
    Buffer.compare(a.signalIdentityKey, b.signalIdentityKey) === 0 &&
    a.signalRegistrationId === b.signalRegistrationId
  )
}

/** A registration is unique for ever: it never changes its keys, and a device that is new here was introduced since. */
function checkDevice(device: Device, current: Manifest): void {
  const since = registrationOf(device)
  const before = current.devices.find((d) => d.number === device.number)
  if (before && compareVersions(registrationOf(before), since) === 0) {
    if (sameKeys(before, device)) return
    throw new ParleyError('conflict', 'a device changed its keys without a new registration', {
      device: `${device.number}`,
    })
  }
  if (compareVersions(since, current) <= 0) {
    throw new ParleyError('unsigned_device', 'a new device claims a registration older than the manifest before it', {
      device: `${device.number}`,
    })
  }
}

/** What says that its devices are those of a manifest before it has the same ones. */
function checkSame(current: Manifest, next: Manifest): void {
  if (next.rootEpoch !== current.rootEpoch || next.devicesSince > current.version) return
  const names = ({ devices }: Manifest): string =>
    devices
      .map(
        ({ number, registrationEpoch, registrationVersion }) => `${number}.${registrationEpoch}.${registrationVersion}`,
      )
      .sort()
      .join()
  if (names(current) !== names(next) || next.devicesSince < current.devicesSince) {
    throw new ParleyError('conflict', 'a manifest with other devices than it says', { since: `${next.devicesSince}` })
  }
}

/** Whether `next`, newer than `current`, is its rightful successor; throws what is wrong. */
export function checkSuccessor(current: Manifest, next: Manifest): void {
  const direct = next.rootEpoch === current.rootEpoch && next.version === current.version + 1
  if (direct && Buffer.compare(next.previousHash, current.hash) !== 0) {
    throw new ParleyError('conflict', 'the manifest does not follow the one that is known', {
      newest: `${current.rootEpoch}.${current.version}`,
    })
  }
  if (next.homeGeneration < current.homeGeneration) {
    throw new ParleyError('too_old', 'the home generation went back', { generation: `${current.homeGeneration}` })
  }
  for (const device of next.devices) checkDevice(device, current)
  checkSame(current, next)
}

/** The head (what the DHT shows) must say what the manifest says, and both must name this region as home. */
export function checkHead(manifest: Manifest, home: Home, region: RegionId): void {
  if (manifest.homeRegion !== region) {
    throw new ParleyError('not_home', 'the manifest names another region as home', { home: manifest.homeRegion })
  }
  const agrees =
    home.userId === manifest.userId &&
    compareVersions(home, manifest) === 0 &&
    Buffer.compare(home.manifestHash, manifest.hash) === 0 &&
    home.homeRegion === manifest.homeRegion &&
    home.homeGeneration === manifest.homeGeneration &&
    home.fallbackRegions.join() === manifest.fallbackRegions.join()
  if (!agrees) throw new ParleyError('conflict', 'head and manifest do not say the same')
}
