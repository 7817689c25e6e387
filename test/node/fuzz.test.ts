// Twenty thousand bad requests to both planes of a real server: every one gets the 4xx that fits it, in the closed error
// body, and nothing in the ledger, the audit log or the list of tenants has moved afterwards. The seed is new in every run
// and printed with whatever fails.

import { randomInt } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { request as send } from "undici";
import { expect, test } from "vitest";
import { startAuthority } from "../../scripts/lib/authority-process.ts";
import type { TenantWay } from "../support/authority-contract.ts";
import { type BadRequest, badRequests } from "../support/bad-requests.ts";
import { httpWay } from "../support/http-way.ts";

const REQUESTS = 20_000;
const CONNECTIONS = 32;
const ADMIN_KEY = "admin-key-of-the-fuzz";

test("20,000 bad requests: no 5xx, no hang, the ledger untouched", { timeout: 300_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "purser-fuzz-"));
  const lines: string[] = [];
  const authority = await startAuthority({
    port: 0,
    host: "127.0.0.1",
    dataDir: folder,
    settings: { PURSER_ADMIN_KEY: ADMIN_KEY },
    onLog: (line) => lines.push(line),
  });
  try {
    let apiKey = "";
    const way = httpWay({
      adminKey: ADMIN_KEY,
      int64: true,
      send: (path, init) => {
        apiKey = init.headers["x-cycles-api-key"] ?? apiKey;
        return fetch(authority.url + path, init);
      },
    });
    const foreign = await way.open();
    const foreignReservationId = await openReservation(foreign);
    const own = await way.open();
    const reservationId = await openReservation(own);
    const leaseId = await openLease(own);
    const admin = operatorOf(authority.url);
    const policyId = await admin.makePolicy(own.tenant);
    const picture = async () => [await pictureOf(own), await admin.pictureOf(own.tenant)];
    const before = await picture();

    const seed = randomInt(2 ** 31);
    const target = {
      tenant: own.tenant,
      apiKey,
      reservationId,
      foreignReservationId,
      leaseId,
      foreignTenant: foreign.tenant,
      adminKey: ADMIN_KEY,
      apiKeyId: apiKey.split("_").slice(2, 4).join("_"),
      policyId,
    };
    const requests = badRequests(target, seed, REQUESTS);
    const wrong = await sendAll(authority.url, requests);
    expect(wrong, `seed ${seed}: the first wrong answers of ${wrong.length}`).toEqual([]);

    expect(await picture()).toEqual(before);
    expect(lines, "what the server printed").toEqual([]);
    // Every kind of fault was among them.
    expect(new Set(requests.map((it) => it.fault)).size).toBeGreaterThanOrEqual(40);
  } finally {
    await authority.stop();
    await rm(folder, { recursive: true, force: true });
  }
});

async function openReservation(way: TenantWay): Promise<string> {
  const scope = `tenant:${way.tenant}`;
  await way.createBudget({ scope, unit: "TOKENS", allocated: { unit: "TOKENS", amount: 1_000_000 } });
  const { status, body } = await way.reserve({
    idempotency_key: "the one that is open",
    subject: { tenant: way.tenant },
    action: { kind: "k", name: "n" },
    estimate: { unit: "TOKENS", amount: 100 },
    // Longer than the run.
    ttl_ms: 3_600_000,
  });
  expect(status).toBe(200);
  return String(body.reservation_id);
}

async function openLease(way: TenantWay): Promise<string> {
  const request = { idempotency_key: "lent", subject: { tenant: way.tenant }, unit: "TOKENS", want: 50 };
  // Longer than the run.
  const { status, body } = await way.openLease({ ...request, ttl_ms: 600_000 });
  expect(status).toBe(200);
  return String(body.lease_id);
}

/** All that a tenant can see of its ledger. */
async function pictureOf(way: TenantWay) {
  return [
    await way.balances({ tenant: way.tenant }),
    await way.reservations({ tenant: way.tenant }),
    await way.leases({}),
  ];
}

/** What an operator does and sees here: a policy, and everything that is kept of a tenant. */
function operatorOf(url: string) {
  const headers = { "x-admin-api-key": ADMIN_KEY, "content-type": "application/json" };
  const read = async (path: string): Promise<unknown> => {
    const response = await fetch(`${url}/v1/${path}`, { headers });
    expect(response.status).toBe(200);
    return response.json();
  };
  return {
    makePolicy: async (tenant: string): Promise<string> => {
      const policy = { tenant_id: tenant, name: "p", scope_pattern: `tenant:${tenant}`, priority: 1 };
      const body = JSON.stringify(policy);
      const response = await fetch(`${url}/v1/admin/policies`, { method: "POST", headers, body });
      expect(response.status).toBe(201);
      return ((await response.json()) as { policy_id: string }).policy_id;
    },
    pictureOf: (tenant: string) =>
      Promise.all(
        [
          "admin/tenants",
          ...["budgets", "api-keys", "policies", "audit/logs"].map((it) => `admin/${it}?tenant_id=${tenant}`),
          `x-purser/budgets/periods?scope=tenant:${tenant}&unit=TOKENS`,
        ].map(read),
      ),
  };
}

interface WrongAnswer {
  readonly request: string;
  readonly answer: string;
}

/** Sends them all over a few connections; returns the first few that were answered wrongly. */
async function sendAll(url: string, requests: readonly BadRequest[]): Promise<WrongAnswer[]> {
  const wrong: WrongAnswer[] = [];
  let next = 0;
  const connection = async (): Promise<void> => {
    for (
      let request = requests[next++];
      request !== undefined && wrong.length < 5;
      request = requests[next++]
    ) {
      const problem = await problemWith(url, request);
      if (problem !== undefined) wrong.push({ request: shown(request), answer: problem });
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, connection));
  return wrong;
}

/** Why an answer is not the one that a bad request must get. */
async function problemWith(url: string, request: BadRequest): Promise<string | undefined> {
  const { method, path, headers, body } = request;
  // Not fetch: of the whole test it takes a fifth.
  const response = await send(
    url + path,
    body === undefined ? { method, headers } : { method, headers, body },
  );
  const answer = await response.body.text();
  const said = `${response.statusCode} ${answer}`;
  if (!request.statuses.includes(response.statusCode)) return said;
  const { error, message, request_id, trace_id, details, ...others } = JSON.parse(answer);
  const whole =
    typeof error === "string" &&
    typeof message === "string" &&
    message.length <= 1000 &&
    request_id === response.headers["x-request-id"] &&
    trace_id === response.headers["x-cycles-trace-id"] &&
    (details === undefined || typeof details === "object") &&
    Object.keys(others).length === 0;
  return whole ? undefined : said;
}

function shown({ fault, method, path, headers, body, statuses }: BadRequest): string {
  const text = body === undefined ? "" : new TextDecoder().decode(body.subarray(0, 300));
  return `${fault} (wants ${statuses.join(" or ")}): ${method} ${path} ${JSON.stringify(headers)} ${text}`;
}
