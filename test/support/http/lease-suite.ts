// Leases over HTTP: who may open, report, list and set what, and what amounts look like on the way. The rules themselves are
// the contract's (lease-contract.ts). Called by http-suite.ts.

import { describe, expect, test } from "vitest";
import { type Caller, codeOf, type Fields, type Front, type Known } from "./front.ts";

const PATH = "/v1/x-purser/leases";

export function leaseSuite(
  front: Front,
  { ADMIN, send, post, get, makeKey, makeTenant }: Caller,
  keys: Known,
): void {
  const openBody = (tenant: string, key: string, want: number | string = 10) =>
    `{"idempotency_key":"${key}","subject":{"tenant":"${tenant}"},"unit":"TOKENS","want":${want}}`;
  const report = { epoch: 1, unit: "TOKENS", sequence: 1, spent: 1, held: 0, returned: 0 };

  describe("leases", () => {
    test("each operation wants its own permission", async () => {
      await makeTenant("lending");
      const only = (permission: string) => makeKey("lending", { permissions: [permission] });
      const all: Fields[] = [];
      for (const it of ["create", "commit", "release", "list"]) all.push(await only(`reservations:${it}`));
      all.push(await only("balances:read"));
      const opened = await post(PATH, all[0] ?? {}, openBody("lending", "k"));
      expect(codeOf(opened)).toBe("200");
      const id = opened.json.lease_id;
      const operations: ((headers: Fields, n: number) => Promise<Awaited<ReturnType<typeof get>>>)[] = [
        (headers, n) => post(PATH, headers, openBody("lending", `k${n}`)),
        (headers) => post(`${PATH}/${id}/renew`, headers, { ...report, want: 10 }),
        (headers) => post(`${PATH}/${id}/return`, headers, { ...report, sequence: 2 }),
        (headers) => get(PATH, headers),
        (headers) => get("/v1/x-purser/exposure", headers),
      ];
      for (const [own, ask] of operations.entries()) {
        for (const [n, headers] of all.entries()) {
          expect(codeOf(await ask(headers, n)), `${own} with ${n}`).toBe(n === own ? "200" : "403 FORBIDDEN");
        }
        expect(codeOf(await ask({}, 0))).toBe("401 UNAUTHORIZED");
      }
    });

    test("an operator sees and sets, and names the tenant; a tenant's key sets nothing", async () => {
      const key = await makeTenant("lent-to");
      await post(PATH, key, openBody("lent-to", "k"));
      expect((await get(`${PATH}?tenant_id=lent-to`, ADMIN)).json.leases).toHaveLength(1);
      const { json } = await get("/v1/x-purser/exposure?tenant_id=lent-to", ADMIN);
      expect(json).toEqual({ exposure: [{ unit: "TOKENS", leases: 1, outstanding: 10, beyond: 0 }] });
      const settings = `${PATH}/settings`;
      for (const [method, path] of [
        ["GET", PATH],
        ["GET", "/v1/x-purser/exposure"],
        ["GET", settings],
        ["POST", `${PATH}/epoch`],
      ] as const) {
        expect(codeOf(await send(method, path, ADMIN))).toBe("400 INVALID_REQUEST");
        expect(codeOf(await send(method, `${path}?tenant_id=nobody-here`, ADMIN))).toBe("404 NOT_FOUND");
      }
      expect(codeOf(await send("PUT", `${settings}?tenant_id=lent-to`, ADMIN, { grace_ms: 0 }))).toBe("200");
      for (const [method, path, body] of [
        ["GET", settings, undefined],
        ["PUT", settings, {}],
        ["POST", `${PATH}/epoch`, undefined],
      ] as const) {
        expect(codeOf(await send(method, `${path}?tenant_id=lent-to`, key, body))).toBe("401 UNAUTHORIZED");
      }
      expect(codeOf(await send("POST", `${PATH}/epoch?tenant_id=lent-to`, ADMIN))).toBe("200");
      const audit = await get("/v1/admin/audit/logs?tenant_id=lent-to&resource_type=config", ADMIN);
      expect(audit.json.logs.map(({ operation }: { operation: string }) => operation)).toEqual([
        "raiseLeaseEpoch",
        "updateLeaseSettings",
      ]);
    });

    test("another tenant's lease is nobody's here, and another method none at all", async () => {
      const opened = await post(PATH, keys.acme, openBody("acme", "theirs", 1));
      const path = `${PATH}/${opened.json.lease_id}`;
      expect(codeOf(await post(`${path}/return`, keys.other, report))).toBe("403 FORBIDDEN");
      expect(codeOf(await post(`${path}/return`, keys.acme, { ...report, spent: 0 }))).toBe("200");
      expect(codeOf(await send("DELETE", PATH, keys.acme))).toBe("405 INVALID_REQUEST");
      expect(codeOf(await get(path, keys.acme))).toBe("404 NOT_FOUND");
    });

    test.runIf(front.int64)("amounts beyond 2^53 are exact both ways", async () => {
      const key = await makeTenant("lent-a-lot", "9223372036854775807");
      const opened = await post(PATH, key, openBody("lent-a-lot", "k", "9007199254740993"));
      expect(opened.text).toContain('"outstanding":9007199254740993');
      const body = `{"epoch":1,"unit":"TOKENS","sequence":1,"spent":9007199254740991,"held":0,"returned":0,"want":2}`;
      const renewed = await post(`${PATH}/${opened.json.lease_id}/renew`, key, body);
      expect(renewed.text).toContain('"granted":{"unit":"TOKENS","amount":9007199254740993}');
      expect(renewed.text).toContain('"outstanding":2,');
      expect(codeOf(await post(PATH, key, openBody("lent-a-lot", "l", "1.0")))).toBe("400 INVALID_REQUEST");
      expect(codeOf(await post(PATH, key, openBody("lent-a-lot", "l", "9223372036854775808")))).toBe(
        "400 INVALID_REQUEST",
      );
    });
  });
}
