// Ids of reservations and leases: opaque, URL-safe, at most 96 characters, derivable from the idempotency key, so that a
// replay is found without an index row, and attributable to a tenant, so that a foreign id is told from one never issued.
// Both are built alike, under keys of their own; a lease's begins with `l`, and follows from its epoch as well.
//
//   stem 20                              seal 12                  masked tenant 3 … 64
//   ┌ r day 3 ┬ HMAC(tenant, key) 16 ┐ ┌ HMAC(stem, masked) 72 bit ┐ ┌ tenant ⊕ keystream(stem) ┐
//
// The alphabet is base64url's in ASCII order: text order is number order, so "older than a day" is a range of ids.
// Who may call: the ledger (to issue and to judge), the HTTP front (to route an operator's call to its tenant).

import { createMac, equalInConstantTime, type Mac } from "./digest.ts";

const ALPHABET = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
/** The letter of the kind, so that no id looks like an option or a number, and three letters of day: enough until 2687. */
const DAY_LENGTH = 4;
const DIGEST_LENGTH = 16;
const SEAL_LENGTH = 12;
/** 144 bits of keyed digest: no two events of a deployment share an id. */
const EVENT_DIGEST_LENGTH = 24;
/** Characters of an id that (tenant, idempotency key, day) determine: 18 bits of day, 96 bits of keyed digest. */
export const STEM_LENGTH = DAY_LENGTH + DIGEST_LENGTH;

const ID = /^[-0-9A-Z_a-z]{35,96}$/;

/** What ids name. */
export type IdKind = "reservation" | "lease";
const LETTER_OF: Readonly<Record<IdKind, string>> = { reservation: "r", lease: "l" };

/** What an id says about itself, once its seal is checked. */
export type IdVerdict = { readonly issued: true; readonly tenant: string } | { readonly issued: false };

interface IdMacs {
  readonly digest: Mac;
  readonly seal: Mac;
  readonly mask: Mac;
  readonly event: Mac;
}

/** Issues and judges ids of one kind. The first secret issues; all of them are accepted, so that a secret can be rotated. */
export abstract class HoldIds {
  readonly #kind: IdKind;
  readonly #current: IdMacs;
  readonly #all: readonly IdMacs[];
  /** The last digest under the current secret: a reserve looks for its key, and then issues under it. */
  #last = { tenant: "", key: "", digest: "" };

  constructor(kind: IdKind, secrets: readonly string[]) {
    this.#kind = kind;
    this.#all = secrets.map((secret) => ({
      digest: createMac(secret, `${kind}-digest`),
      seal: createMac(secret, `${kind}-seal`),
      mask: createMac(secret, `${kind}-mask`),
      event: createMac(secret, "event-digest"),
    }));
    const [current] = this.#all;
    if (current === undefined) throw new RangeError("secrets: must hold at least one secret, got none");
    this.#current = current;
  }

  /** The id that this key gets on this day. */
  issue(tenant: string, idempotencyKey: string, day: number): string {
    const stem = dayPrefix(day, this.#kind) + this.#digestOf(this.#current, tenant, idempotencyKey);
    const masked = maskTenant(this.#current, stem, tenant);
    return stem + sealOf(this.#current, stem, masked) + masked;
  }

  /** The id of the event that this key made on this day. Nothing is ever looked up by it. */
  issueEvent(tenant: string, idempotencyKey: string, day: number): string {
    const digest = encode(this.#current.event([tenant, idempotencyKey, String(day)]), EVENT_DIGEST_LENGTH);
    return `evt_${digest}`;
  }

  /** The stems under which an earlier reserve with this key may lie, of the last day and so many before it; newest first. */
  stems(tenant: string, idempotencyKey: string, lastDay: number, daysBack: number): string[] {
    return this.#all.flatMap((macs) => {
      const digest = this.#digestOf(macs, tenant, idempotencyKey);
      return Array.from(
        { length: daysBack + 1 },
        (_, back) => dayPrefix(lastDay - back, this.#kind) + digest,
      );
    });
  }

  #digestOf(macs: IdMacs, tenant: string, key: string): string {
    const isCurrent = macs === this.#current;
    if (isCurrent && this.#last.tenant === tenant && this.#last.key === key) return this.#last.digest;
    const digest = encode(macs.digest([tenant, key]), DIGEST_LENGTH);
    if (isCurrent) this.#last = { tenant, key, digest };
    return digest;
  }

  /** Whether this deployment issued `id`, and to which tenant. Says nothing about whether a row still exists. */
  judge(id: string): IdVerdict {
    if (!ID.test(id) || !id.startsWith(LETTER_OF[this.#kind])) return { issued: false };
    const stem = id.slice(0, STEM_LENGTH);
    const seal = id.slice(STEM_LENGTH, STEM_LENGTH + SEAL_LENGTH);
    const masked = id.slice(STEM_LENGTH + SEAL_LENGTH);
    const macs = this.#all.find((candidate) => equalInConstantTime(sealOf(candidate, stem, masked), seal));
    if (macs === undefined) return { issued: false };
    return { issued: true, tenant: unmaskTenant(macs, stem, masked) };
  }
}

export class ReservationIds extends HoldIds {
  constructor(secrets: readonly string[]) {
    super("reservation", secrets);
  }
}

export class LeaseIds extends HoldIds {
  constructor(secrets: readonly string[]) {
    super("lease", secrets);
  }
}

/** Every id of its kind of an earlier day sorts before this text, every one of `day` or later after it. */
export function dayPrefix(day: number, kind: IdKind = "reservation"): string {
  return `${LETTER_OF[kind]}${letter((day >>> 12) & 63)}${letter((day >>> 6) & 63)}${letter(day & 63)}`;
}

function sealOf(macs: IdMacs, stem: string, masked: string): string {
  return encode(macs.seal([stem, masked]), SEAL_LENGTH);
}

/** Tenant ids use 37 of the 64 letters, so adding a keyed letter modulo 64 hides each and stays in the alphabet. */
function maskTenant(macs: IdMacs, stem: string, tenant: string): string {
  return shiftLetters(tenant, keystream(macs, stem, tenant.length), 1);
}

function unmaskTenant(macs: IdMacs, stem: string, masked: string): string {
  return shiftLetters(masked, keystream(macs, stem, masked.length), -1);
}

function keystream(macs: IdMacs, stem: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let block = 0; block * 32 < length; block += 1) {
    bytes.set(macs.mask([stem, String(block)]).subarray(0, length - block * 32), block * 32);
  }
  return bytes;
}

function shiftLetters(text: string, shifts: Uint8Array, sign: 1 | -1): string {
  return Array.from(shifts, (shift, index) =>
    letter((ALPHABET.indexOf(text.charAt(index)) + sign * shift) & 63),
  ).join("");
}

function encode(bytes: Uint8Array, length: number): string {
  let text = "";
  for (let at = 0; text.length < length; at += 3) {
    const word = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    text += letter(word >>> 18) + letter((word >>> 12) & 63) + letter((word >>> 6) & 63) + letter(word & 63);
  }
  return text;
}

function letter(value: number): string {
  return ALPHABET.charAt(value);
}
