// Keyed hashes, synchronous so that a decision needs no await: HMAC-SHA256 with one sub-key per purpose, SHA-256
// fingerprints, and comparison in constant time. Invariant: fields of a message are length-prefixed, so no two
// different lists of fields give the same message. Who may call: ids, API keys, idempotency.

import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";

const encoder = new TextEncoder();

/** A function that MACs a list of fields under one purpose's own key. */
export type Mac = (fields: readonly string[]) => Uint8Array;

/** Derives a purpose's key from a deployment secret, once; each call then costs two SHA-256 blocks for short input. */
export function createMac(secret: string, purpose: string): Mac {
  const key = hmac(sha256, encoder.encode(secret), encoder.encode(`purser:${purpose}`));
  const keyed = hmac.create(sha256, key);
  return (fields) =>
    keyed
      .clone()
      .update(encoder.encode(joinFields(fields)))
      .digest();
}

/** SHA-256 of a text as 43 characters of base64url: what equal requests share and different ones don't. */
export function fingerprint(text: string): string {
  return base64Url(sha256(encoder.encode(text)));
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Compares two texts without telling by its time where they differ; only the length may show. */
export function equalInConstantTime(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let index = 0; index < a.length; index += 1) {
    difference |= a.charCodeAt(index) ^ b.charCodeAt(index % Math.max(b.length, 1));
  }
  return difference === 0;
}

function base64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

function joinFields(fields: readonly string[]): string {
  return fields.map((field) => `${field.length}:${field}`).join("");
}
