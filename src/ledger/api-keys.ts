// API keys: `cyc_live_<tenant>_<keyId 12 hex>_<secret 32 hex><mac 32 hex>`. The MAC lets the front refuse forged and
// random keys without waking a tenant's object; the object then checks the stored keyed digest, revocation and expiry.
// Invariant: the text of a key is never stored, only its digest. Who may call: the HTTP front; randomness comes in.

import { createMac, equalInConstantTime, hex, type Mac } from "./digest.ts";

const KEY = /^cyc_live_([a-z0-9-]{3,64})_([0-9a-f]{12})_([0-9a-f]{32})([0-9a-f]{32})$/;
const KEY_NAME = /^([a-z0-9-]{3,64})_([0-9a-f]{12})$/;
const MAC_BYTES = 16;
const KEY_ID_BYTES = 6;
const SECRET_BYTES = 16;
/** Random bytes that {@link ApiKeys.mint} needs. */
export const API_KEY_RANDOM_BYTES = KEY_ID_BYTES + SECRET_BYTES;

/** Who calls: the key's id and the digest of its whole text. Proves nothing until the object has compared the digest. */
export interface KeyCaller {
  readonly keyId: string;
  readonly digest: string;
  /** The `Origin` that the request came with. */
  readonly origin?: string | undefined;
}

/** Who calls with a token whose signature the front has verified: the token's id. What it may do, its row says. */
export interface TokenCaller {
  readonly tokenId: string;
  readonly origin?: string | undefined;
}

export type Caller = KeyCaller | TokenCaller;

export interface MintedKey extends Pick<KeyCaller, "keyId" | "digest"> {
  /** The whole key. Shown once, never stored. */
  readonly text: string;
  /** The part that may be shown later to tell keys apart. */
  readonly prefix: string;
}

/** A key's name on the governance plane. It carries the tenant, so that whoever holds it needs no directory of keys. */
export function apiKeyIdOf(tenant: string, keyId: string): string {
  return `${tenant}_${keyId}`;
}

/** The parts of such a name; `undefined` for a text that is none. Says nothing about whether there is such a key. */
export function parseApiKeyId(text: string): { readonly tenant: string; readonly keyId: string } | undefined {
  const [, tenant, keyId] = KEY_NAME.exec(text) ?? [];
  return tenant === undefined || keyId === undefined ? undefined : { tenant, keyId };
}

interface KeyMacs {
  readonly mac: Mac;
  readonly digest: Mac;
}

/** Mints and verifies keys. The first secret mints; all of them verify, so that a secret can be rotated. */
export class ApiKeys {
  readonly #current: KeyMacs;
  readonly #all: readonly KeyMacs[];

  constructor(secrets: readonly string[]) {
    this.#all = secrets.map((secret) => ({
      mac: createMac(secret, "api-key-mac"),
      digest: createMac(secret, "api-key-digest"),
    }));
    const [current] = this.#all;
    if (current === undefined) throw new RangeError("secrets: must hold at least one secret, got none");
    this.#current = current;
  }

  mint(tenant: string, random: Uint8Array): MintedKey {
    if (random.length !== API_KEY_RANDOM_BYTES) {
      throw new RangeError(`random: must hold ${API_KEY_RANDOM_BYTES} bytes, got ${random.length}`);
    }
    const keyId = hex(random.subarray(0, KEY_ID_BYTES));
    const secret = hex(random.subarray(KEY_ID_BYTES));
    const prefix = `cyc_live_${tenant}_${keyId}`;
    const text = `${prefix}_${secret}${macOf(this.#current, tenant, keyId, secret)}`;
    return { text, prefix, keyId, digest: hex(this.#current.digest([text])) };
  }

  /** The tenant and caller of a genuine key; `undefined` for anything this deployment did not mint. */
  verify(text: string): { readonly tenant: string; readonly caller: KeyCaller } | undefined {
    const match = KEY.exec(text);
    if (match === null) return undefined;
    const [, tenant = "", keyId = "", secret = "", mac = ""] = match;
    const macs = this.#all.find((one) => equalInConstantTime(macOf(one, tenant, keyId, secret), mac));
    return macs === undefined ? undefined : { tenant, caller: { keyId, digest: hex(macs.digest([text])) } };
  }
}

function macOf(macs: KeyMacs, tenant: string, keyId: string, secret: string): string {
  return hex(macs.mac([tenant, keyId, secret]).subarray(0, MAC_BYTES));
}
