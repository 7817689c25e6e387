// TokenIssuer against the Worker's own front: what it asks for, what it reads, and what it throws.

import { AuthorityError, HttpAuthority } from "purser/client";
import { TokenIssuer } from "purser/tokens";
import { beforeAll, describe, expect, test } from "vitest";
import { callerOf } from "../support/http/front.ts";
import { front } from "./support.ts";

const baseUrl = "https://purser.test";
const tokens = (amount: number | bigint) => ({ unit: "TOKENS", amount }) as const;
const fetch = (url: string, init: RequestInit) => front.send(url.slice(baseUrl.length), init as never);
const action = { kind: "llm", name: "chat" };
let apiKey = "";

beforeAll(async () => {
  const { ADMIN, send, makeTenant } = callerOf(front);
  const key = await makeTenant("acme", "100000");
  apiKey = key["x-cycles-api-key"] ?? "";
  const id = apiKey.split("_").slice(2, 4).join("_");
  await send("PATCH", `/v1/x-purser/api-keys/${id}`, ADMIN, { may_issue_tokens: true });
});

const issuerOf = (key: string) => new TokenIssuer({ baseUrl, apiKey: key, fetch, retry: { attempts: 1 } });
const scope = "tenant:acme/agent:page";

describe("TokenIssuer", () => {
  test("issues, and the page spends with the token within its cap", async () => {
    const issuer = issuerOf(apiKey);
    const issued = await issuer.issue({
      scope,
      cap: tokens(100),
      maxPerOperation: tokens(60),
      permissions: ["reservations:create", "reservations:commit", "balances:read"],
      ttlMs: 60_000,
      name: "page",
    });
    const { token, tokenId, createdAtMs, expiresAtMs, ...state } = issued;
    expect(state).toEqual({
      status: "ACTIVE",
      scope,
      unit: "TOKENS",
      permissions: ["reservations:create", "reservations:commit", "balances:read"],
      cap: 100,
      spent: 0,
      held: 0,
      remaining: 100,
      maxPerOperation: 60,
      name: "page",
      ancestors: [],
    });
    expect(expiresAtMs - createdAtMs).toBe(60_000);

    let asked = 0;
    const getToken = () => {
      asked += 1;
      return token;
    };
    const page = new HttpAuthority({ baseUrl, getToken, fetch, subject: { tenant: "acme", agent: "page" } });
    const held = await page.reserve({ action, estimate: tokens(60) });
    if (!held.ok) throw new Error(held.denial.message);
    await page.commit(held.reservationId, { actual: tokens(50) });
    const denied = await page.reserve({ action, estimate: tokens(51) });
    expect(denied).toMatchObject({
      ok: false,
      denial: { code: "BUDGET_EXCEEDED", figures: { limit: 100, spent: 50, available: 50 }, retry: "never" },
    });
    await expect(page.reserve({ action, estimate: tokens(61) })).rejects.toMatchObject({ code: "FORBIDDEN" });
    expect(asked).toBe(4);
    const rows = [];
    for await (const row of issuer.tokens({ status: "ACTIVE" })) rows.push(row);
    expect(rows.filter((row) => row.tokenId === tokenId)).toMatchObject([{ spent: 50, remaining: 50 }]);
  });

  test("a holder narrows it, and nothing wider; renewing and revoking are the issuer's", async () => {
    const issuer = issuerOf(apiKey);
    const parent = await issuer.issue({ scope, cap: tokens(100), allowedOrigins: ["https://app.example"] });
    const fromPage = (url: string, init: RequestInit) =>
      fetch(url, { ...init, headers: { ...init.headers, Origin: "https://app.example" } });
    const holder = new TokenIssuer({ baseUrl, getToken: () => parent.token, fetch: fromPage });
    const child = await holder.attenuate({ cap: tokens(10) });
    expect(child).toMatchObject({
      scope,
      cap: 10,
      ancestors: [parent.tokenId],
      allowedOrigins: ["https://app.example"],
    });
    await expect(holder.attenuate({ cap: tokens(101) })).rejects.toMatchObject({
      code: "FORBIDDEN",
      outcome: "refused",
      details: { field: "cap" },
    });
    await expect(issuerOf(parent.token).attenuate({ cap: tokens(1) })).rejects.toThrow(/origin/);
    const renewed = await issuer.renew(parent.tokenId, { ttlMs: 30_000 });
    expect(renewed.tokenId).toBe(parent.tokenId);
    expect((await issuer.revoke(parent.tokenId, { reason: "done" })).status).toBe("REVOKED");
    const error = await holder.attenuate({ cap: tokens(1) }).catch((it: unknown) => it);
    expect(error).toBeInstanceOf(AuthorityError);
    expect(error).toMatchObject({ code: "UNAUTHORIZED", message: "KEY_REVOKED" });
  });

  test("bad input is refused here, with its name, and nothing is sent", async () => {
    const silent = () => Promise.reject(new Error("sent"));
    const issuer = new TokenIssuer({ baseUrl, apiKey, fetch: silent });
    const invalid = { code: "ARGUMENT_INVALID" };
    await expect(issuer.issue({ scope, cap: tokens(-1) })).rejects.toMatchObject(invalid);
    await expect(issuer.issue({ scope, cap: tokens(1.5) })).rejects.toMatchObject(invalid);
    await expect(issuer.issue({ scope } as never)).rejects.toMatchObject(invalid);
    await expect(issuer.renew("")).rejects.toMatchObject(invalid);
    expect(() => new TokenIssuer({ baseUrl: "ftp://x", apiKey })).toThrow(/baseUrl/);
    expect(() => new TokenIssuer({ baseUrl })).toThrow(/apiKey/);
    expect(() => new TokenIssuer({ baseUrl, apiKey, timeoutMs: 0 })).toThrow(/timeoutMs/);
  });

  test("pages through a long list", async () => {
    const issuer = issuerOf(apiKey);
    for (let n = 0; n < 55; n++) await issuer.issue({ scope: "tenant:acme/agent:many", cap: tokens(n) });
    const caps: number[] = [];
    for await (const row of issuer.tokens()) if (row.scope.endsWith(":many")) caps.push(row.cap);
    expect(caps.sort((a, b) => a - b)).toEqual(Array.from({ length: 55 }, (_, n) => n));
  });
});
