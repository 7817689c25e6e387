// The HTTP suites and the contracts of the authority, met by a real server on a real port; the wire's once more with its
// requests passing through Prism, which holds the answers against the protocol's official descriptions of both planes.

import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { HttpAuthority } from "purser/client";
import { TokenIssuer } from "purser/tokens";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { issueFor, narrowFor, openInPage } from "../../examples/token.ts";
import { type RunningAuthority, startAuthority } from "../../scripts/lib/authority-process.ts";
import { authorityContract } from "../support/authority-contract.ts";
import { type ClientWay, clientContract } from "../support/client-contract.ts";
import { callerOf, type Front } from "../support/http/front.ts";
import { httpSuite } from "../support/http/http-suite.ts";
import { httpWay } from "../support/http-way.ts";
import { meterSuite } from "../support/meter-suite.ts";
import {
  close,
  hasDescriptions,
  type Judge,
  listen,
  sendTo,
  startJudge,
  UNDECLARED,
} from "./support/prism.ts";

const ADMIN_KEY = "admin-key-of-the-suites";

describe("on a real port", () => {
  const server = serverOfThese();
  const send: Front["send"] = (path, sent) => sendTo(server.url(), path, sent);
  const carrier = { adminKey: ADMIN_KEY, int64: true, send };
  httpSuite({ ...carrier, objects: server.objects });
  authorityContract("on a real port", () => httpWay(carrier));
  test("examples/token.ts: a page spends within its token, and what it narrows counts there too", async () => {
    const { ADMIN, send: ask, makeKey } = callerOf({ ...carrier, objects: server.objects });
    // The suites above made the tenant, and left little of its budget.
    const fund = {
      operation: "CREDIT",
      amount: { unit: "TOKENS", amount: 10_000 },
      idempotency_key: "example",
    };
    const funding = "/v1/admin/budgets/fund?tenant_id=acme&scope=tenant:acme&unit=TOKENS";
    expect((await ask("POST", funding, ADMIN, fund)).status).toBe(200);
    const apiKey = (await makeKey("acme"))["x-cycles-api-key"] ?? "";
    const keyId = apiKey.split("_").slice(2, 4).join("_");
    await ask("PATCH", `/v1/x-purser/api-keys/${keyId}`, ADMIN, { may_issue_tokens: true });
    let issued = 0;
    const { token, tokenId } = await issueFor("ann", apiKey, undefined, server.url());
    const askServer = async () => {
      issued += 1;
      return token;
    };
    const page = openInPage("ann", askServer, server.url());
    const estimate = { unit: "TOKENS", amount: 400 } as const;
    const action = { kind: "llm", name: "chat" };
    expect(await page.reserve({ action, estimate })).toMatchObject({ ok: true });
    const child = new HttpAuthority({
      baseUrl: server.url(),
      apiKey: await narrowFor("search", token, server.url()),
      subject: { tenant: "acme", agent: "ann" },
    });
    const over = { unit: "TOKENS", amount: 501 } as const;
    expect(await child.reserve({ action, estimate })).toMatchObject({ ok: true });
    expect(await child.reserve({ action, estimate: over })).toMatchObject({ ok: false });
    expect(issued).toBe(1);
    const holder = new TokenIssuer({ baseUrl: server.url(), apiKey: token });
    const held: number[] = [];
    for await (const row of holder.tokens()) held.push(row.held);
    expect(held.sort()).toEqual([400, 800]);

    // Made to last longer, it is the same token: what was begun with the first text ends with the second.
    let text = token;
    const options = { baseUrl: server.url(), subject: { tenant: "acme", agent: "ann" } };
    const lasting = new HttpAuthority({ ...options, getToken: async () => text });
    const reserved = await lasting.reserve({ action, estimate });
    const lease = await lasting.lease({ unit: "TOKENS", want: 100_000 });
    if (!reserved.ok || !lease.ok) throw new Error("the token has room for both");
    expect(lease.granted.amount).toBe(4_000);
    const renewed = await issueFor("ann", apiKey, tokenId, server.url());
    expect(renewed.tokenId).toBe(tokenId);
    text = renewed.token;
    expect(await lasting.commit(reserved.reservationId, { actual: estimate })).toMatchObject({ ok: true });
    const { leaseId, epoch } = lease;
    const report = { sequence: 1, spent: 50, held: 0, returned: 0 };
    expect(await lasting.returnLease({ leaseId, epoch, unit: "TOKENS" }, report)).toMatchObject({
      state: "ended",
      outstanding: 0,
    });
  });

  const open = async (): Promise<ClientWay> => {
    const tenant = await httpWay(carrier, "k").open();
    const options = { baseUrl: server.url(), apiKey: tenant.apiKey, subject: { tenant: tenant.tenant } };
    return {
      tenant,
      numbers: new HttpAuthority(options),
      exact: new HttpAuthority({ ...options, exact: true }),
    };
  };
  clientContract("over HTTP on a real port", open);
  meterSuite("over HTTP on a real port", open);
});

if (hasDescriptions()) {
  describe("behind Prism", () => {
    const server = serverOfThese();
    let judge: Judge;
    beforeAll(async () => {
      judge = await startJudge(server.url());
    });
    afterAll(() => judge?.stop());

    // Prism reads numbers as doubles and refuses what it would round.
    const carrier = {
      adminKey: ADMIN_KEY,
      int64: false,
      send: (path, sent) => judge.send(path, sent),
    } satisfies Partial<Front>;
    httpSuite({ ...carrier, objects: server.objects });
    authorityContract("behind Prism", () => httpWay(carrier, "p"));

    test("nearly all of it went through, and no exception is listed for nothing", () => {
      const { judged, refusals, direct, undeclared } = judge.seen;
      const { undescribed = 0, unfaithful = 0 } = direct;
      expect(judged).toBeGreaterThan(650);
      expect(refusals).toBeGreaterThan(200);
      expect(judged / (judged + unfaithful + undeclared.length)).toBeGreaterThan(0.95);
      expect(undescribed).toBeLessThan(250);
      expect(UNDECLARED.filter((it) => !undeclared.includes(it))).toEqual([]);
    });

    describe("it bites", () => {
      let lie = { status: 200, body: {} };
      const liar = createServer((_, response) => {
        response.writeHead(lie.status, { "content-type": "application/json" }).end(JSON.stringify(lie.body));
      });
      let second: Judge;
      beforeAll(async () => {
        second = await startJudge(`http://127.0.0.1:${await listen(liar)}`);
      });
      afterAll(async () => {
        await second?.stop();
        await close(liar);
      });

      test.each([
        ["a field too many", "GET", "/v1/balances", 200, { balances: [], surprise: true }, "surprise"],
        [
          "a tenant without its status",
          "GET",
          "/v1/admin/tenants",
          200,
          { tenants: [{ tenant_id: "abc", name: "n", created_at: "2027-01-01T00:00:00Z" }], has_more: false },
          "'status'",
        ],
        [
          "an error without its code",
          "GET",
          "/v1/reservations",
          400,
          { message: "m", request_id: "r" },
          "'error'",
        ],
        [
          "an error without its code",
          "GET",
          "/v1/admin/tenants",
          400,
          { message: "m", request_id: "r" },
          "'error'",
        ],
        ["a status that nobody declared", "GET", "/v1/balances", 418, {}, "status code"],
        ["an operation that nobody described", "PUT", "/v1/balances", 200, {}, "route not found"],
      ])("%s: %s %s", async (_, method, path, status, body, complaint) => {
        lie = { status, body };
        const headers = { "x-cycles-api-key": "k", "x-admin-api-key": "k" };
        await expect(second.send(path, { method, headers })).rejects.toThrow(complaint);
      });
    });
  });
} else {
  test.skip("behind Prism: the protocol's descriptions are not beside this checkout", () => undefined);
}

/** A server for the tests of one describe, over a folder of its own. */
function serverOfThese() {
  let folder: string;
  let authority: RunningAuthority;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "purser-http-"));
    authority = await startAuthority({
      port: 0,
      host: "127.0.0.1",
      dataDir: folder,
      settings: { PURSER_ADMIN_KEY: ADMIN_KEY },
      onLog: (line) => process.stderr.write(`${line}\n`),
    });
  });
  afterAll(async () => {
    await authority?.stop();
    await rm(folder, { recursive: true, force: true });
  });
  return {
    url: () => authority.url,
    /** An object is a database in a folder of its class. */
    objects: async () => {
      const files = await readdir(join(folder, "databases", "purser-TenantBudget"));
      return files.filter((it) => it.endsWith(".sqlite") && it !== "metadata.sqlite").length;
    },
  };
}
