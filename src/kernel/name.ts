// Names → keys of the kernel's directory. SHA-256, because names may come from strangers (tenants): with a hash that
// can be forged, one could make its budget fall together with another's.

import { sha256 } from "@noble/hashes/sha2.js";
import { utf8ToBytes } from "@noble/hashes/utils.js";

export interface DirectoryKey {
  readonly high: bigint;
  readonly low: bigint;
}

/** The key of a name. */
export function directoryKey(name: string): DirectoryKey {
  const digest = sha256(utf8ToBytes(name));
  const view = new DataView(digest.buffer, digest.byteOffset, digest.byteLength);
  return { high: view.getBigUint64(0), low: view.getBigUint64(8) };
}
