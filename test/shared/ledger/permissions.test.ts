// Every operation that a tenant's key can call, times what keys can lack: the one permission it needs, and a scope
// filter that includes what it is about. Whatever is refused has changed nothing.

import { Ledger, MemoryStore, PERMISSIONS, type Permission, type Reply } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { bodyOf, budget, reserveRequest, tokens, verdictOf } from "../../support/ledger-fixtures.ts";

const NOW_MS = 1_800_000_000_000;
const CALLER = { keyId: "0123456789ab", digest: "d" };
const TURN = { nowMs: NOW_MS, caller: CALLER };
const SUBJECT = { tenant: "acme", agent: "a" };
const SCOPE = "tenant:acme/agent:a";
const NAME = { scope: SCOPE, unit: "TOKENS" } as const;

/** A ledger with a budget, a hold, a policy and one key. */
function world(key: { permissions: readonly Permission[]; scope_filter?: readonly string[] }) {
  const store = new MemoryStore();
  const ledger = new Ledger({ tenant: "acme", store, secrets: ["s"] });
  const operator = { nowMs: NOW_MS };
  bodyOf(ledger.createTenant({ tenant_id: "acme", name: "Acme" }, operator));
  bodyOf(ledger.createBudget(budget(SCOPE, 1000), operator));
  bodyOf(ledger.createPolicy({ name: "p", scope_pattern: SCOPE }, operator));
  const request = { tenant_id: "acme", name: "agent", ...key };
  bodyOf(ledger.createApiKey(request, { ...CALLER, prefix: "p" }, operator));
  const held = bodyOf(ledger.reserve(reserveRequest("held", 10, { subject: SUBJECT }), operator));
  return { ledger, store, id: held.reservation_id ?? "" };
}
type World = ReturnType<typeof world>;

const ask = (key: string) => reserveRequest(key, 1, { subject: SUBJECT });
const { estimate: _, ...asking } = ask("e");

const OPERATIONS: readonly [string, Permission, (world: World) => Reply<unknown>][] = [
  ["reserve", "reservations:create", ({ ledger }) => ledger.reserve(ask("r"), TURN)],
  [
    "reserveFit",
    "reservations:create",
    ({ ledger }) => ledger.reserveFit({ ...ask("f"), estimate_min: 1 }, TURN),
  ],
  ["dry run", "reservations:create", ({ ledger }) => ledger.reserve({ ...ask("r"), dry_run: true }, TURN)],
  ["decide", "reservations:create", ({ ledger }) => ledger.decide(ask("d"), TURN)],
  ["event", "reservations:commit", ({ ledger }) => ledger.event({ ...asking, actual: tokens(1) }, TURN)],
  [
    "commit",
    "reservations:commit",
    ({ ledger, id }) => ledger.commit(id, { idempotency_key: "c", actual: tokens(1) }, TURN),
  ],
  ["release", "reservations:release", ({ ledger, id }) => ledger.release(id, { idempotency_key: "l" }, TURN)],
  [
    "extend",
    "reservations:extend",
    ({ ledger, id }) => ledger.extend(id, { idempotency_key: "x", extend_by_ms: 1 }, TURN),
  ],
  ["get reservation", "reservations:list", ({ ledger, id }) => ledger.getReservation(id, TURN)],
  [
    "create budget",
    "budgets:write",
    ({ ledger }) => ledger.createBudget(budget(`${SCOPE}/toolset:t`, 1), TURN),
  ],
  ["look a budget up", "budgets:read", ({ ledger }) => ledger.lookupBudget(NAME, TURN)],
  [
    "fund",
    "budgets:write",
    ({ ledger }) => ledger.fund(NAME, { operation: "CREDIT", amount: tokens(1), idempotency_key: "f" }, TURN),
  ],
  ["set a period", "budgets:write", ({ ledger }) => ledger.setPeriod(NAME, { kind: "daily" }, TURN)],
  ["remove a period", "budgets:write", ({ ledger }) => ledger.removePeriod(NAME, TURN)],
  ["get a period", "budgets:read", ({ ledger }) => ledger.getPeriod(NAME, TURN)],
  [
    "create policy",
    "policies:write",
    ({ ledger }) => ledger.createPolicy({ name: "q", scope_pattern: `${SCOPE}/*` }, TURN),
  ],
  [
    "update policy",
    "policies:write",
    ({ ledger }) => ledger.updatePolicy("pol_acme_1", { priority: 1 }, TURN),
  ],
];
const LISTS: readonly [
  string,
  Permission,
  (world: World) => Reply<unknown>,
  (body: never) => readonly unknown[],
][] = [
  [
    "list reservations",
    "reservations:list",
    ({ ledger }) => ledger.listReservations({}, TURN),
    (body: { reservations: readonly unknown[] }) => body.reservations,
  ],
  [
    "balances",
    "balances:read",
    ({ ledger }) => ledger.balances({ tenant: "acme" }, TURN),
    (body: { balances: readonly unknown[] }) => body.balances,
  ],
  [
    "list budgets",
    "budgets:read",
    ({ ledger }) => ledger.listBudgets({}, TURN),
    (body: { ledgers: readonly unknown[] }) => body.ledgers,
  ],
  [
    "list policies",
    "policies:read",
    ({ ledger }) => ledger.listPolicies({}, TURN),
    (body: { policies: readonly unknown[] }) => body.policies,
  ],
];
const ALL = [...OPERATIONS, ...LISTS.map(([name, needs, run]) => [name, needs, run] as const)];
const NO_ADMIN = PERMISSIONS.filter((each) => each !== "admin:read" && each !== "admin:write");

const figures = ({ store }: World) => [...store.scanAccounts()];

describe("permissions", () => {
  test.each(ALL)("%s needs %s and nothing else", (_name, needed, run) => {
    const allowed = run(world({ permissions: [needed] }));
    expect(allowed).toMatchObject({ ok: true });
    const here = world({ permissions: NO_ADMIN.filter((each) => each !== needed) });
    const before = figures(here);
    const refused = run(here);
    const code = /^(?:budgets|policies):/.test(needed) ? "INSUFFICIENT_PERMISSIONS" : "FORBIDDEN";
    expect(verdictOf(refused)).toBe(`403 ${code}`);
    expect(refused).toMatchObject({ message: `The API key lacks the permission ${needed}` });
    expect(figures(here)).toEqual(before);
  });

  test.each(ALL)("%s by admin:write or admin:read only where these stand for %s", (_name, needed, run) => {
    const plane = needed.startsWith("reservations:")
      ? []
      : [needed.endsWith(":read") ? "admin:read" : "admin:write"];
    for (const permission of ["admin:read", "admin:write"] as const) {
      expect(run(world({ permissions: [permission] })).ok).toBe(plane.includes(permission));
    }
  });
});

describe("scope filters", () => {
  test.each(OPERATIONS)(
    "%s is refused outside of the key's filter and allowed inside",
    (_name, needed, run) => {
      for (const inside of [["agent:a"], ["agent:*"], ["app:x", "agent:A"]]) {
        expect(run(world({ permissions: [needed], scope_filter: inside }))).toMatchObject({ ok: true });
      }
      for (const outside of [[], ["agent:b"], ["app:*"]]) {
        const here = world({ permissions: [needed], scope_filter: outside });
        const before = figures(here);
        const refused = run(here);
        expect(verdictOf(refused)).toBe("403 FORBIDDEN");
        expect(refused).toMatchObject({
          message: expect.stringMatching(/scope filter does not include tenant:acme/),
        });
        expect(figures(here)).toEqual(before);
      }
    },
  );

  test.each(LISTS)("%s leaves out what is outside of the filter", (_name, needed, run, rows) => {
    const shown = (filter: readonly string[]) =>
      rows(bodyOf(run(world({ permissions: [needed], scope_filter: filter }))) as never).length;
    expect([shown(["agent:a"]), shown(["agent:b"]), shown([])]).toEqual([1, 0, 0]);
  });
});
