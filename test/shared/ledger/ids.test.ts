// Reservation ids and API keys: derivable, attributable, rotatable, not forgeable by changing a character.

import fc from "fast-check";
import { API_KEY_RANDOM_BYTES, ApiKeys, ReservationIds } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { dayPrefix, STEM_LENGTH } from "../../../src/ledger/ids.ts";

const ids = new ReservationIds(["secret"]);
const tenantId = fc.stringMatching(/^[a-z0-9-]{3,64}$/);

describe("reservation ids", () => {
  test("are URL-safe, at most 128 long, and tell nobody the tenant", () => {
    fc.assert(
      fc.property(
        tenantId,
        fc.string({ minLength: 1, maxLength: 256 }),
        fc.nat(260_000),
        (tenant, key, day) => {
          const id = ids.issue(tenant, key, day);
          expect(id).toMatch(/^[A-Za-z0-9_-]{35,96}$/);
          expect(ids.judge(id)).toEqual({ issued: true, tenant });
          expect(ids.stems(tenant, key, day, 2)).toContain(id.slice(0, STEM_LENGTH));
          if (tenant.length > 4) expect(id).not.toContain(tenant);
        },
      ),
    );
  });

  test("the same key on the same day gives the same id, another key or tenant another", () => {
    expect(ids.issue("acme", "k", 20_000)).toBe(ids.issue("acme", "k", 20_000));
    expect(ids.issue("acme", "k", 20_000)).not.toBe(ids.issue("acme", "l", 20_000));
    expect(ids.issue("acme", "k", 20_000)).not.toBe(ids.issue("acne", "k", 20_000));
  });

  test("text order is day order", () => {
    fc.assert(
      fc.property(fc.nat(260_000), fc.nat(260_000), (a, b) => {
        expect(Math.sign(a - b)).toBe(dayPrefix(a) < dayPrefix(b) ? -1 : dayPrefix(a) > dayPrefix(b) ? 1 : 0);
      }),
    );
  });

  test("changing any one character makes an id that was never issued", () => {
    const id = ids.issue("acme", "k", 20_000);
    for (let at = 0; at < id.length; at += 1) {
      const changed = id.slice(0, at) + (id[at] === "a" ? "b" : "a") + id.slice(at + 1);
      expect(ids.judge(changed)).toEqual({ issued: false });
    }
  });

  test.each(["", "x", "rsv_123", "a".repeat(41), "a/b", `${ids.issue("acme", "k", 1)}a`])(
    "%j was never issued",
    (id) => {
      expect(ids.judge(id)).toEqual({ issued: false });
    },
  );

  test("ids of a previous secret still count; another deployment's don't", () => {
    const rotated = new ReservationIds(["newer", "secret"]);
    const id = ids.issue("acme", "k", 20_000);
    expect(rotated.judge(id)).toEqual({ issued: true, tenant: "acme" });
    expect(rotated.stems("acme", "k", 20_000, 0)).toContain(id.slice(0, STEM_LENGTH));
    expect(new ReservationIds(["other"]).judge(id)).toEqual({ issued: false });
  });
});

describe("API keys", () => {
  const random = Uint8Array.from({ length: API_KEY_RANDOM_BYTES }, (_, index) => index);
  const keys = new ApiKeys(["secret"]);
  const minted = keys.mint("acme-corp", random);

  test("are verified without a lookup, and give their tenant and digest", () => {
    expect(minted.text).toMatch(/^cyc_live_acme-corp_[0-9a-f]{12}_[0-9a-f]{64}$/);
    expect(keys.verify(minted.text)).toEqual({
      tenant: "acme-corp",
      caller: { keyId: minted.keyId, digest: minted.digest },
    });
    expect(minted.text).not.toContain(minted.digest);
    expect(minted.text.startsWith(`${minted.prefix}_`)).toBe(true);
  });

  test("changing any one character makes a key that nobody minted", () => {
    for (let at = 0; at < minted.text.length; at += 1) {
      const changed =
        minted.text.slice(0, at) + (minted.text[at] === "0" ? "1" : "0") + minted.text.slice(at + 1);
      expect(keys.verify(changed)).toBeUndefined();
    }
  });

  test("a rotated secret still verifies the previous one's keys, with the digest they were stored under", () => {
    const rotated = new ApiKeys(["newer", "secret"]);
    expect(rotated.verify(minted.text)?.caller.digest).toBe(minted.digest);
    expect(new ApiKeys(["newer"]).verify(minted.text)).toBeUndefined();
  });

  test("too few random bytes are refused", () => {
    expect(() => keys.mint("acme", random.subarray(1))).toThrow(RangeError);
  });
});
