// Names → keys of the kernel's directory. SHA-256, because names may come from strangers (tenants): with a hash that
// can be forged, one could make its budget fall together with another's.

import { sha256 } from "./sha256.ts";

export interface DirectoryKey {
  readonly high: bigint;
  readonly low: bigint;
}

/** The key of a name: the first 128 bits of its digest. */
export function directoryKey(name: string): DirectoryKey {
  const [a = 0, b = 0, c = 0, d = 0] = sha256(name);
  const join = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low);
  return { high: join(a, b), low: join(c, d) };
}
