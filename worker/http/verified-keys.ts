// API keys that this isolate has verified, so that the next request with one costs no MAC. Invariant: only genuine keys
// are kept, and a bounded number of them; nothing here says that a key still stands, since the tenant's object looks at
// its row on every call, so a revoked one stops at once. Who may call: auth.ts.

import type { ApiKeys, KeyCaller } from "purser/ledger";

export interface VerifiedKey {
  readonly tenant: string;
  readonly caller: KeyCaller;
}

/** About 400 bytes each. Agents use a handful of keys; past this many, verifying again is what it costs. */
export const VERIFIED_KEYS_MAX = 1_000;

export class VerifiedKeys {
  readonly #keys: Pick<ApiKeys, "verify">;
  readonly #verified = new Map<string, VerifiedKey>();

  constructor(keys: Pick<ApiKeys, "verify">) {
    this.#keys = keys;
  }

  /** How many are kept. */
  get size(): number {
    return this.#verified.size;
  }

  /** The tenant and caller of a genuine key; `undefined` for anything this deployment did not mint. */
  verify(text: string): VerifiedKey | undefined {
    const known = this.#verified.get(text);
    if (known !== undefined) return known;
    const key = this.#keys.verify(text);
    if (key === undefined) return undefined;
    if (this.#verified.size >= VERIFIED_KEYS_MAX) this.#verified.clear();
    this.#verified.set(text, key);
    return key;
  }
}
