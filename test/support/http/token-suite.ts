// Tokens over HTTP: what their text is worth, and to whom. Forged, expired, for somebody else, signed otherwise, replayed
// after their end: each refused, and no object is woken for a text that this deployment did not sign. Called by http-suite.ts.

import { SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import {
  type Caller,
  codeOf,
  type Fields,
  type Front,
  faultOf,
  type Json,
  type Known,
  tokens,
} from "./front.ts";

const SCOPE = "tenant:acme/agent:page";
const subject = { tenant: "acme", agent: "page" };
const PATH = "/v1/x-purser/tokens";
const ask = (key: string, amount: number, rest: object = {}) => ({
  idempotency_key: key,
  subject,
  action: { kind: "llm", name: "chat" },
  estimate: tokens(amount),
  ...rest,
});
const decode = (part = ""): Json => JSON.parse(atob(part.replaceAll("-", "+").replaceAll("_", "/")));
const encode = (value: object | string): string =>
  btoa(typeof value === "string" ? value : JSON.stringify(value))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

export function tokenSuite(front: Front, caller: Caller, keys: Known): void {
  const { ADMIN, send, post, get, makeKey } = caller;

  /** A key that an operator lets issue tokens. */
  const issuer = async (rest: object = {}): Promise<Fields> => {
    const key = await makeKey("acme", rest);
    const id = (key["x-cycles-api-key"] ?? "").split("_").slice(2, 4).join("_");
    const changed = await send("PATCH", `/v1/x-purser/api-keys/${id}`, ADMIN, { may_issue_tokens: true });
    expect([changed.status, changed.json.may_issue_tokens]).toEqual([200, true]);
    return key;
  };
  const withToken = (token: string): Fields => ({ "x-cycles-api-key": token });
  const issue = async (key: Fields, rest: object = {}): Promise<Json> => {
    const made = await post(PATH, key, { scope: SCOPE, cap: tokens(100), ...rest });
    expect(made.status).toBe(201);
    return made.json;
  };

  describe("tokens", () => {
    test("issued, used wherever a key is, narrowed, listed, renewed and revoked", async () => {
      const key = await issuer();
      const made = await issue(key, { max_per_operation: tokens(60), name: "page", ttl_ms: 60_000 });
      const { token, ...body } = made;
      const [header, claims] = token.split(".").slice(0, 2).map(decode);
      expect(header).toEqual({
        alg: "HS256",
        typ: "purser+jwt",
        kid: expect.stringMatching(/^[0-9a-f]{16}$/),
      });
      expect(claims).toMatchObject({
        iss: "purser",
        aud: "purser",
        jti: made.token_id,
        tenant: "acme",
        scope: SCOPE,
        unit: "TOKENS",
        cap: "100",
        max_per_operation: "60",
        permissions: body.permissions,
        exp: Math.ceil(made.expires_at_ms / 1000),
      });
      const holder = withToken(token);
      const held = await post("/v1/reservations", holder, ask("tok-1", 60));
      expect([held.status, held.headers.get("x-cycles-tenant")]).toEqual([200, "acme"]);
      const path = `/v1/reservations/${held.json.reservation_id}`;
      expect((await get(path, holder)).json.status).toBe("ACTIVE");
      expect(codeOf(await post("/v1/reservations", holder, ask("tok-2", 41)))).toBe("409 BUDGET_EXCEEDED");
      expect(codeOf(await post("/v1/decide", holder, ask("tok-3", 40)))).toBe("200");
      const extend = { idempotency_key: "x", extend_by_ms: 1 };
      expect((await post(`${path}/extend`, holder, extend)).status).toBe(200);
      const commit = { idempotency_key: "c", actual: tokens(10) };
      expect((await post(`${path}/commit`, holder, commit)).json.charged).toEqual(tokens(10));
      expect((await get("/v1/auth/introspect", holder)).json.tenant_id).toBe("acme");
      expect((await get("/v1/reservations", holder)).json.reservations).toHaveLength(1);

      const child = (await post(`${PATH}/attenuate`, holder, { cap: tokens(20), name: "child" })).json;
      const other = await post("/v1/reservations", withToken(child.token), ask("tok-1", 20));
      expect(other.status).toBe(200);
      const listed = (await get(PATH, holder)).json.tokens;
      const rows = listed.map(({ name, spent, reserved, remaining }: Json) => [
        name,
        spent.amount,
        reserved.amount,
        remaining.amount,
      ]);
      expect(rows).toEqual(
        expect.arrayContaining([
          ["page", 10, 20, 70],
          ["child", 0, 20, 0],
        ]),
      );
      expect(rows).toHaveLength(2);

      const renewed = await post(`${PATH}/${made.token_id}/renew`, key, { ttl_ms: 120_000 });
      expect([renewed.status, renewed.json.token_id]).toEqual([200, made.token_id]);
      expect(renewed.json.expires_at_ms).toBeGreaterThan(made.expires_at_ms);
      expect((await post("/v1/decide", withToken(renewed.json.token), ask("tok-4", 1))).status).toBe(200);

      const revoked = await send("DELETE", `${PATH}/${made.token_id}?reason=done`, key);
      expect([revoked.status, revoked.json.status]).toEqual([200, "REVOKED"]);
      // Replayed after its end: the text is as good as ever, and the row says no. So for the child, at its next call.
      for (const text of [token, renewed.json.token, child.token]) {
        const refused = await post("/v1/reservations", withToken(text), ask("tok-5", 1));
        expect(faultOf(refused)).toBe("401 UNAUTHORIZED KEY_REVOKED");
        expect(refused.headers.has("x-cycles-tenant")).toBe(false);
      }
      expect((await send("DELETE", `${PATH}/${made.token_id}`, ADMIN)).json.status).toBe("REVOKED");
      expect((await get(`${PATH}?tenant_id=acme&status=REVOKED`, ADMIN)).json.tokens.length).toBeGreaterThan(
        1,
      );
      expect((await get(`${PATH}?tenant_id=nobody-there`, ADMIN)).json).toEqual({
        tokens: [],
        has_more: false,
      });
    });

    test("a text that this deployment did not sign for this is 401, and wakes no object", async () => {
      const key = await issuer();
      const { token } = await issue(key);
      const [header = "", payload = "", signature = ""] = token.split(".");
      const claims = decode(payload);
      const widened = (change: object) => `${header}.${encode({ ...claims, ...change })}.${signature}`;
      const under = (secret: string, change: object = {}, alg = "HS256") =>
        new SignJWT({ ...claims, ...change })
          .setProtectedHeader({ ...decode(header), alg })
          .sign(new TextEncoder().encode(secret.padEnd(64, ".")));
      const texts: Readonly<Record<string, string>> = {
        "no signature": `${header}.${payload}.`,
        "alg none": `${encode({ alg: "none", typ: "purser+jwt" })}.${payload}.`,
        "alg none, with a signature": `${encode({ alg: "none", typ: "purser+jwt" })}.${payload}.${signature}`,
        "another signature": `${header}.${payload}.${signature.slice(0, -2)}AA`,
        "somebody else's secret": await under("guess"),
        "the admin key as a secret": await under(front.adminKey),
        "another algorithm": await under("guess", {}, "HS512"),
        "an algorithm that needs another key": `${encode({ ...decode(header), alg: "RS256" })}.${payload}.${signature}`,
        "an unknown kid": `${encode({ ...decode(header), kid: "0".repeat(16) })}.${payload}.${signature}`,
        "no kid": `${encode({ alg: "HS256", typ: "purser+jwt" })}.${payload}.${signature}`,
        "another tenant": widened({ tenant: "other" }),
        "another id": widened({ jti: `other_${"0".repeat(32)}` }),
        "a wider scope": widened({ scope: "tenant:acme" }),
        "a larger cap": widened({ cap: "9223372036854775807" }),
        "more rights": widened({ permissions: ["budgets:write"] }),
        "more at once": widened({ max_per_operation: "100" }),
        "any origin": widened({ allowed_origins: [] }),
        "a longer life": widened({ exp: claims.exp + 3600 }),
        "another audience": widened({ aud: "somebody" }),
        "no audience": widened({ aud: undefined }),
        "ancestors of its own": widened({ ancestors: [] }),
        "noise with dots": "a.b.c",
        "too long": `${header}.${"A".repeat(6_000)}.${signature}`,
      };
      const before = await front.objects();
      for (const [what, text] of Object.entries(texts)) {
        for (const answer of [
          await post("/v1/reservations", withToken(text), ask("forged", 1)),
          await get("/v1/balances?tenant=acme", withToken(text)),
          await post(`${PATH}/attenuate`, withToken(text), { cap: tokens(1) }),
        ]) {
          expect(faultOf(answer), what).toBe("401 UNAUTHORIZED INVALID_KEY");
          expect(answer.headers.has("x-cycles-tenant")).toBe(false);
        }
      }
      expect(await front.objects()).toBe(before);
      expect((await post("/v1/reservations", withToken(token), ask("genuine", 1))).status).toBe(200);
      // A token is for the header of keys alone, and opens nothing of an operator's.
      expect(faultOf(await get("/v1/balances?tenant=acme", { authorization: `Bearer ${token}` }))).toBe(
        "401 UNAUTHORIZED Missing API key",
      );
      expect(faultOf(await get("/v1/admin/tenants", { "x-admin-api-key": token }))).toBe(
        "401 UNAUTHORIZED INVALID_KEY",
      );
    });

    test.runIf(front.rows !== undefined)(
      "one whose row has gone or has ended is 401, whatever its text says",
      async () => {
        const key = await issuer();
        for (const [change, reason] of [
          ["UPDATE tokens SET expires_at_ms = 1 WHERE token_id = ?", "KEY_EXPIRED"],
          ["UPDATE tokens SET revoked_at_ms = 1 WHERE token_id = ?", "KEY_REVOKED"],
          ["DELETE FROM tokens WHERE token_id = ?", "KEY_NOT_FOUND"],
        ] as const) {
          const made = await issue(key);
          await front.rows?.("acme", change, made.token_id.split("_")[1] ?? "");
          for (const answer of [
            await post("/v1/reservations", withToken(made.token), ask("r", 1)),
            await post("/v1/reservations", withToken(made.token), "{"),
            await get("/v1/balances", withToken(made.token)),
          ]) {
            expect(faultOf(answer)).toBe(`401 UNAUTHORIZED ${reason}`);
          }
        }
      },
    );

    test("from another origin than its own: 403, everywhere", async () => {
      const key = await issuer();
      const { token } = await issue(key, { allowed_origins: ["https://app.example"] });
      const from = (origin: string): Fields => ({ ...withToken(token), origin });
      expect((await post("/v1/decide", from("https://app.example"), ask("o", 1))).status).toBe(200);
      for (const headers of [withToken(token), from("https://evil.example"), from("null")]) {
        expect(faultOf(await post("/v1/decide", headers, ask("o", 1)))).toMatch(/^403 FORBIDDEN/);
        expect(faultOf(await post(`${PATH}/attenuate`, headers, { cap: tokens(1) }))).toMatch(
          /^403 FORBIDDEN/,
        );
      }
    });

    test("of one tenant it is nothing at another", async () => {
      const { token, token_id } = await issue(await issuer());
      const foreign = await post("/v1/reservations", keys.other, {
        ...ask("foreign", 1),
        subject: { tenant: "other" },
      });
      const path = `/v1/reservations/${foreign.json.reservation_id}`;
      const holder = withToken(token);
      expect(faultOf(await get(path, holder))).toMatch(/^403 FORBIDDEN/);
      const elsewhere = { ...ask("e", 1), subject: { tenant: "other" } };
      expect(faultOf(await post("/v1/reservations", holder, elsewhere))).toMatch(/^403 FORBIDDEN/);
      for (const answer of [
        await send("DELETE", `${PATH}/${token_id}`, keys.other),
        await post(`${PATH}/${token_id}/renew`, keys.other, {}),
      ]) {
        expect(faultOf(answer)).toBe("403 FORBIDDEN The token belongs to another tenant");
      }
      expect(faultOf(await send("DELETE", `${PATH}/acme_${"0".repeat(32)}`, ADMIN))).toMatch(
        /^404 NOT_FOUND/,
      );
      expect(faultOf(await send("DELETE", `${PATH}/x`, ADMIN))).toMatch(/^404 NOT_FOUND/);
    });

    test("who may not issue, does not", async () => {
      const plain = await makeKey("acme");
      const body = { scope: SCOPE, cap: tokens(1) };
      expect(faultOf(await post(PATH, plain, body))).toBe("403 FORBIDDEN The API key may not issue tokens");
      expect(faultOf(await post(PATH, ADMIN, body))).toBe("401 UNAUTHORIZED Missing API key");
      const { token } = await issue(await issuer());
      expect(faultOf(await post(PATH, withToken(token), body))).toMatch(
        /^403 FORBIDDEN A token issues no token/,
      );
      expect(faultOf(await post(PATH, withToken(token), "{"))).toMatch(/^400 INVALID_REQUEST/);
      const wider = await post(`${PATH}/attenuate`, withToken(token), { cap: tokens(101) });
      expect(faultOf(wider)).toBe(
        "403 FORBIDDEN cap must not be wider than what issues the token: at most 100, got 101",
      );
    });

    test("draws leases and reservations of a range, within its cap", async () => {
      const { token, token_id } = await issue(await issuer(), { scope: "tenant:acme" });
      const holder = withToken(token);
      const lease = { idempotency_key: "lease", subject, unit: "TOKENS", want: 60 };
      const opened = await post("/v1/x-purser/leases", holder, lease);
      expect([opened.status, opened.json.granted]).toEqual([200, tokens(60)]);
      const fit = await post("/v1/x-purser/reservations", holder, ask("fit", 90, { estimate_min: 1 }));
      expect([fit.status, fit.json.reserved]).toEqual([200, tokens(40)]);
      const row = (await get(PATH, holder)).json.tokens.find((it: Json) => it.token_id === token_id);
      expect([row.reserved.amount, row.remaining.amount]).toEqual([100, 0]);
      const { epoch, lease_id } = opened.json;
      const last = { epoch, unit: "TOKENS", sequence: 1, spent: 25, held: 0, returned: 0 };
      expect((await post(`/v1/x-purser/leases/${lease_id}/return`, holder, last)).status).toBe(200);
      const revoked = (await send("DELETE", `${PATH}/${token_id}`, holder)).json;
      expect([revoked.spent.amount, revoked.reserved.amount, revoked.status]).toEqual([25, 40, "REVOKED"]);
    });

    test("fifty at once on one cap: exactly what it has, and the rest refused", async () => {
      const { token, token_id } = await issue(await issuer());
      const children = await Promise.all(
        Array.from({ length: 4 }, () => post(`${PATH}/attenuate`, withToken(token), { cap: tokens(100) })),
      );
      const texts = [token, ...children.map(({ json }) => json.token)];
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, n) =>
          post("/v1/reservations", withToken(texts[n % texts.length]), ask(`many-${n}`, 10)),
        ),
      );
      const verdicts = answers.map(codeOf);
      expect(verdicts.filter((it) => it === "200")).toHaveLength(10);
      expect(verdicts.filter((it) => it === "409 BUDGET_EXCEEDED")).toHaveLength(40);
      const row = (await get(PATH, withToken(token))).json.tokens.find(
        (it: Json) => it.token_id === token_id,
      );
      expect([row.reserved.amount, row.remaining.amount]).toEqual([100, 0]);
      expect((await send("DELETE", `${PATH}/${token_id}`, ADMIN)).status).toBe(200);
    });
  });
}
