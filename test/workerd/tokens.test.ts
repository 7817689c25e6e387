// What a token's text proves: signed under this deployment's own secret, by the one algorithm, for this use, and not
// expired. The key is derived here once more, so that texts can be made which only a leaked secret could make. And tokens
// given out by a trusted Worker.

import { env } from "cloudflare:workers";
import { type JWTHeaderParameters, SignJWT } from "jose";
import type { TokenBody } from "purser/ledger";
import { describe, expect, test } from "vitest";
import type { Env } from "../../worker/env.ts";
import { createApp } from "../../worker/http/app.ts";
import { tenantStub } from "../../worker/http/tenant-stub.ts";
import { looksLikeToken, TokenTexts } from "../../worker/tokens.ts";
import { bodyOf, reserveRequest, tokens } from "../support/ledger-fixtures.ts";
import { freshTenantName, front, START_MS, tenantWith, within } from "./support.ts";

const SECRET = "a-deployment-secret";
const NOW_MS = 1_800_000_000_400;
const ID = "0123456789abcdef".repeat(2);

const encoder = new TextEncoder();
/** The token key of a secret: HKDF over SHA-256, no salt. */
async function derived(secret: string, info: string, bits: number): Promise<Uint8Array> {
  const base = await crypto.subtle.importKey("raw", encoder.encode(secret), "HKDF", false, ["deriveBits"]);
  const how = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: encoder.encode(info) };
  return new Uint8Array(await crypto.subtle.deriveBits(how, base, bits));
}
const hex = (bytes: Uint8Array) => Array.from(bytes, (it) => it.toString(16).padStart(2, "0")).join("");

/** Members of a header or of claims; one that is undefined is left out. */
type Members = Readonly<Record<string, unknown>>;

async function textWith(payload: Members = {}, header: Members = {}, secret = SECRET): Promise<string> {
  const kid = hex(await derived(secret, "purser:token-key-id", 64));
  const claims = {
    iss: "purser",
    aud: "purser",
    jti: `acme_${ID}`,
    tenant: "acme",
    exp: Math.ceil(NOW_MS / 1000) + 60,
    ...payload,
  };
  return new SignJWT(claims)
    .setProtectedHeader({ alg: "HS256", typ: "purser+jwt", kid, ...header } as JWTHeaderParameters)
    .sign(await derived(secret, "purser:token-signing", 256));
}

const verdictOn = async (text: string, ...secrets: string[]) =>
  (await TokenTexts.under(secrets.length === 0 ? [SECRET] : secrets)).verify(text, NOW_MS);

const GENUINE = { tenant: "acme", caller: { tokenId: ID } };

describe("the text of a token", () => {
  test("proves whose it is", async () => {
    expect(await verdictOn(await textWith())).toEqual(GENUINE);
  });

  test.each<[string, Members, Members]>([
    ["for another audience", { aud: "console" }, {}],
    ["for none", { aud: undefined }, {}],
    ["by another issuer", { iss: "somebody" }, {}],
    ["of another type", {}, { typ: "JWT" }],
    ["of no type", {}, { typ: undefined }],
    ["by another algorithm under the very same key", {}, { alg: "HS384" }],
    ["that never ends", { exp: undefined }, {}],
    ["without an id", { jti: undefined }, {}],
    ["whose id is none", { jti: ID }, {}],
    ["whose id is another tenant's", { jti: `other_${ID}` }, {}],
    ["without a tenant", { tenant: undefined }, {}],
    ["not valid yet", { nbf: Math.ceil(NOW_MS / 1000) + 5 }, {}],
    ["under a key id that is none", {}, { kid: "ffffffffffffffff" }],
    ["under no key id", {}, { kid: undefined }],
  ])("%s is none", async (_, payload, header) => {
    expect(await verdictOn(await textWith(payload, header))).toBe("INVALID_KEY");
  });

  test("that has expired says so: from its second on, not before", async () => {
    const at = (exp: number) => textWith({ exp });
    expect(await verdictOn(await at(1_800_000_000))).toBe("KEY_EXPIRED");
    expect(await verdictOn(await at(1_800_000_001))).toEqual(GENUINE);
  });

  test("what is signed here ends no earlier than its row, and carries amounts as text", async () => {
    const texts = await TokenTexts.under([SECRET]);
    const most = tokens(2n ** 63n - 1n);
    const body = {
      token_id: `acme_${ID}`,
      tenant_id: "acme",
      cap: most,
      ancestors: [],
      created_at_ms: NOW_MS,
      expires_at_ms: NOW_MS + 1,
    } as unknown as TokenBody;
    const { token } = await texts.sign(body);
    expect(JSON.parse(atob(token.split(".")[1] ?? ""))).toMatchObject({
      exp: 1_800_000_001,
      iat: 1_800_000_000,
      cap: "9223372036854775807",
    });
    expect(await texts.verify(token, NOW_MS + 1)).toEqual(GENUINE);
    expect(looksLikeToken(token)).toBe(true);
    expect(looksLikeToken("cyc_live_acme_0123456789ab_00")).toBe(false);
  });

  test("rotation: a new secret signs, the one before still verifies, and one that is gone does not", async () => {
    const old = await textWith();
    expect(await verdictOn(old, "next", SECRET)).toEqual(GENUINE);
    expect(await verdictOn(await textWith({}, {}, "next"), "next", SECRET)).toEqual(GENUINE);
    expect(await verdictOn(old, "next")).toBe("INVALID_KEY");
    // The key id names the key: under another one's it is no token, even if the signature is some key's of ours.
    const kid = hex(await derived("next", "purser:token-key-id", 64));
    expect(await verdictOn(await textWith({}, { kid }), "next", SECRET)).toBe("INVALID_KEY");
  });
});

test("the front takes tokens of the secret before, as it takes keys", async () => {
  const tenant = freshTenantName();
  const stub = tenantStub(env, tenant);
  await stub.createTenant({ tenant_id: tenant, name: tenant });
  const issued = bodyOf(await stub.issueToken({ scope: `tenant:${tenant}`, cap: tokens(5) }));
  const app = createApp();
  const statusWith = async (bindings: Partial<Env>) => {
    const request = new Request(`https://purser.test/v1/balances?tenant=${tenant}`, {
      headers: { "x-cycles-api-key": issued.token },
    });
    return (await app.fetch(request, { TENANT_BUDGET: env.TENANT_BUDGET, ...bindings })).status;
  };
  const now = env.PURSER_HASH_SECRET;
  expect(await statusWith({ PURSER_HASH_SECRET: now })).toBe(200);
  expect(await statusWith({ PURSER_HASH_SECRET: "next", PURSER_HASH_SECRET_PREVIOUS: now })).toBe(200);
  expect(await statusWith({ PURSER_HASH_SECRET: "next" })).toBe(401);
});

test("a Worker with the binding issues, renews, lists and revokes without a key", async () => {
  const { tenant, stub } = await tenantWith(1000);
  const now = Date.now();
  await within(stub, now, async (budget) => {
    const issued = bodyOf(
      await budget.issueToken({ scope: `tenant:${tenant}/agent:a`, cap: tokens(50), ttl_ms: 60_000 }),
    );
    const tokenId = issued.token_id.split("_")[1] ?? "";
    const headers = { "x-cycles-api-key": issued.token, "content-type": "application/json" };
    const ask = reserveRequest("k", 30, { subject: { tenant, agent: "a" } });
    const reserve = () =>
      front.send("/v1/reservations", { method: "POST", headers, body: JSON.stringify(ask) });
    expect((await reserve()).status).toBe(200);
    expect(bodyOf(await budget.renewToken(tokenId, { ttl_ms: 90_000 })).expires_at_ms).toBe(now + 90_000);
    expect(bodyOf(await budget.listTokens({})).tokens).toMatchObject([{ reserved: tokens(30n) }]);
    expect(bodyOf(await budget.revokeToken(tokenId, {})).status).toBe("REVOKED");
    expect((await reserve()).status).toBe(401);
  });
});

test("what tokens cost in rows: three to make one, and one a cap and call", async () => {
  const { tenant, stub } = await tenantWith(1000);
  await within(stub, START_MS, async (budget, { storage }) => {
    const { sql } = storage;
    const rowsOf = async <T>(work: () => Promise<T>): Promise<[number, T]> => {
      let written = 0;
      const own = budget.store.sql;
      const counting = (text: string, ...values: unknown[]) => {
        const cursor = sql.exec(text, ...values);
        const rows = cursor.toArray();
        written += cursor.rowsWritten;
        return { toArray: () => rows, rowsWritten: cursor.rowsWritten };
      };
      Reflect.set(budget.store, "sql", { exec: counting });
      try {
        const result = await work();
        return [written, result];
      } finally {
        Reflect.set(budget.store, "sql", own);
      }
    };
    const [made, issued] = await rowsOf(() =>
      budget.issueToken({ scope: `tenant:${tenant}`, cap: tokens(50) }),
    );
    const caller = { tokenId: bodyOf(issued).token_id.split("_")[1] ?? "" };
    const [narrowed, child] = await rowsOf(() => budget.attenuateToken({ cap: tokens(50) }, caller));
    const ask = (key: string) => reserveRequest(key, 5, { subject: { tenant } });
    const [byKey] = await rowsOf(() => budget.reserve(ask("a")));
    const [byToken] = await rowsOf(() => budget.reserve(ask("b"), caller));
    const leaf = { tokenId: bodyOf(child).token_id.split("_")[1] ?? "" };
    const [byChild] = await rowsOf(() => budget.reserve(ask("c"), leaf));
    const [denied] = await rowsOf(() =>
      budget.reserve(reserveRequest("d", 500, { subject: { tenant } }), leaf),
    );
    expect({ made, narrowed, byKey, byToken, byChild, denied }).toEqual({
      made: 3,
      narrowed: 3,
      byKey: 2,
      byToken: 3,
      byChild: 4,
      denied: 0,
    });
  });
});
