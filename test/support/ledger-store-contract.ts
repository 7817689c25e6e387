// What every LedgerStore must do, as one suite for all of them: records come back as they went in, writes are whole or
// not at all, scans and prunes keep their order and bounds.

import type {
  AccountRecord,
  ActiveReservation,
  ApiKeyRecord,
  AuditRecord,
  FinishedReservation,
  LedgerStore,
  PolicyRecord,
  ReservationScan,
  TenantRecord,
  TokenRecord,
  WindowRecord,
} from "purser/ledger";
import { INT64_MAX } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { leaseStoreScenarios } from "./lease-store-contract.ts";

const BIG_JSON = {
  big: 9007199254740993n,
  text: "ü😀\u0000",
  list: [1.5, null, true],
  nested: { exponent: 1e21 },
};

const TENANT: TenantRecord = {
  tenantId: "acme",
  name: "Acme",
  status: "ACTIVE",
  parentTenantId: "holding",
  metadata: { plan: "pro" },
  defaultCommitOveragePolicy: "REJECT",
  defaultReservationTtlMs: 60_000,
  maxReservationTtlMs: 3_600_000,
  maxReservationExtensions: 10,
  reservationExpiryPolicy: "AUTO_RELEASE",
  revision: 3,
  createdAtMs: 1_800_000_000_000,
  updatedAtMs: 1_800_000_000_001,
  suspendedAtMs: 1_800_000_000_001,
  closedAtMs: 1_800_000_000_001,
};

function account(scope: string, unit: AccountRecord["unit"] = "TOKENS"): AccountRecord {
  return {
    scope,
    unit,
    allocated: INT64_MAX,
    spent: 2n ** 53n + 1n,
    reserved: 0n,
    debt: 7n,
    overdraftLimit: INT64_MAX,
    overLimitMark: true,
    status: "FROZEN",
    commitOveragePolicy: "ALLOW_WITH_OVERDRAFT",
    settings: { rolloverPolicy: "NONE", periodStartMs: 1, periodEndMs: 2, metadata: BIG_JSON },
    createdAtMs: 1_800_000_000_000,
    updatedAtMs: 1_800_000_000_002,
  };
}

/** The same with a period and a window; each is written by a method of its own. */
function periodic(scope: string): AccountRecord {
  return {
    ...account(scope),
    period: { rule: { kind: "monthly", timeZone: "Europe/Berlin" }, allocated: INT64_MAX },
    window: { startMs: 1_800_000_000_000, endMs: 1_900_000_000_000, carriedDebt: 2n ** 53n + 1n },
  };
}

function passed(startMs: number, reserved = 0n): WindowRecord {
  return {
    startMs,
    endMs: startMs + 10,
    allocated: INT64_MAX,
    spent: 2n ** 53n + 1n,
    reserved,
    debt: 1n,
    carriedDebt: 2n,
    overLimitMark: true,
  };
}

const POLICY: PolicyRecord = {
  policyId: "pol_acme_1",
  name: "Engineering",
  description: "d",
  scopePattern: "tenant:acme/*",
  priority: 3,
  rules: {
    caps: { max_tokens: 1, tool_allowlist: ["ü"] },
    commitOveragePolicy: "REJECT",
    ttl: { defaultMs: 1000, maxMs: 2000, extensionsMax: 3 },
    rates: { reservationsPerMinute: 4, commitsPerMinute: 5 },
  },
  status: "DISABLED",
  effectiveFromMs: 1,
  effectiveUntilMs: 2,
  createdAtMs: 3,
  updatedAtMs: 4,
};

function reservation(stem: string): ActiveReservation {
  return {
    id: `${stem}sealsealsealmask`,
    status: "ACTIVE",
    created: { key: `key of ${stem}`, fingerprint: "print", reply: '{"decision":"ALLOW"}' },
    unit: "TOKENS",
    amount: INT64_MAX,
    scopes: ["tenant:acme", "tenant:acme/agent:a"],
    overagePolicy: "ALLOW_IF_AVAILABLE",
    createdAtMs: 1_800_000_000_000,
    expiresAtMs: 1_800_000_060_000,
    gracePeriodMs: 5000,
    extensionsMax: 10,
    extensions: [],
    details: {
      subject: { tenant: "acme", agent: "A", dimensions: { team: "x" } },
      action: { kind: "k", name: "n", tags: ["t"] },
      metadata: BIG_JSON,
    },
    keyId: "0123456789ab",
  };
}

function finished(stem: string, finishedAtMs = 1_800_000_010_000): FinishedReservation {
  return {
    ...reservation(stem),
    status: "COMMITTED",
    finishedAtMs,
    charged: INT64_MAX,
    settled: { key: "c", fingerprint: "print2", reply: '{"status":"COMMITTED"}' },
    report: { metrics: { tokens_input: 5 }, metadata: BIG_JSON },
  };
}

const API_KEY: ApiKeyRecord = {
  keyId: "0123456789ab",
  digest: "ff",
  prefix: "cyc_live_acme_0123456789ab",
  name: "agent",
  description: "d",
  permissions: ["reservations:create", "balances:read"],
  scopeFilter: ["agent:*"],
  metadata: BIG_JSON,
  createdAtMs: 1,
  expiresAtMs: 2,
  revokedAtMs: 3,
  remainingTtl: false,
  allowedOrigins: ["https://app.example"],
  revokedReason: "lost",
  mayIssueTokens: true,
};

const AUDIT: Omit<AuditRecord, "seq"> = {
  atMs: 1_800_000_000_000,
  actorType: "admin_on_behalf_of",
  keyId: "0123456789ab",
  operation: "fundBudget",
  resourceType: "budget",
  resourceId: "ldg_x",
  status: 200,
  source: {
    requestId: "req_1",
    traceId: "0af7651916cd43dd8448eb211c80319c",
    userAgent: "ü",
    sourceIp: "::1",
  },
  subject: { tenant: "acme" },
  action: { kind: "k", name: "n" },
  amount: { unit: "TOKENS", amount: INT64_MAX },
  metadata: BIG_JSON,
};

/** Stems of two days; what lies between is the same. */
const OLD = "rAAA0000000000000000";
const NEW = "rAAB0000000000000000";

/**
 * @param withStore - runs its argument against an empty store; whatever throws inside must come out
 */
export function describeStoreContract(
  name: string,
  withStore: (check: (store: LedgerStore) => void) => Promise<void>,
): void {
  const scenario = (title: string, check: (store: LedgerStore) => void) =>
    test(title, () => withStore(check));

  describe(`${name} keeps the store's contract`, () => {
    scenario("an empty store has nothing", (store) => {
      expect(store.latestTimeMs()).toBe(0);
      expect(store.readTenant()).toBeUndefined();
      expect(store.readAccounts(["tenant:acme"])).toEqual([]);
      expect(store.readReservation(OLD)).toBeUndefined();
      expect([...store.scanDeadlines()]).toEqual([]);
      expect([...store.scanAccounts()]).toEqual([]);
      expect(store.readApiKey("0123456789ab")).toBeUndefined();
      expect([store.countAccounts(), store.countApiKeys()]).toEqual([0, 0]);
    });

    leaseStoreScenarios(scenario);

    scenario("every record comes back as it went in", (store) => {
      store.writeTenant(TENANT);
      expect(store.readTenant()).toEqual(TENANT);
      store.writeTenant({ ...TENANT, status: "CLOSED" });
      expect(store.readTenant()?.status).toBe("CLOSED");

      store.insertAccount(account("tenant:acme"));
      expect(store.readAccounts(["tenant:acme"], "TOKENS")).toEqual([account("tenant:acme")]);

      store.insertReservation(reservation(OLD));
      expect(store.readReservation(reservation(OLD).id)).toEqual(reservation(OLD));
      expect(store.findReservation([OLD])).toEqual(reservation(OLD));
      store.finishReservation(finished(OLD));
      expect(store.readReservation(reservation(OLD).id)).toEqual(finished(OLD));
      expect(store.findReservation([OLD])).toEqual(finished(OLD));

      store.insertApiKey(API_KEY);
      expect(store.readApiKey(API_KEY.keyId)).toEqual(API_KEY);

      store.insertAudit(AUDIT);
      expect([...store.scanAudit()]).toEqual([{ ...AUDIT, seq: 1 }]);
      expect(store.latestTimeMs()).toBe(1_800_000_000_002);
    });

    scenario("what was left out stays left out", (store) => {
      const {
        parentTenantId: _,
        metadata: __,
        defaultCommitOveragePolicy: ___,
        suspendedAtMs: _sus,
        closedAtMs: _clo,
        ...tenant
      } = TENANT;
      store.writeTenant(tenant);
      expect(store.readTenant()).toEqual(tenant);
      const { commitOveragePolicy: ____, ...plain } = { ...account("tenant:acme"), settings: {} };
      store.insertAccount(plain);
      expect(store.readAccounts(["tenant:acme"])).toEqual([plain]);
      const {
        charged: _c,
        settled: _s,
        report: _r,
        keyId: _k,
        ...expired
      } = { ...finished(OLD), status: "EXPIRED" as const };
      const { keyId: _key, ...active } = reservation(OLD);
      store.insertReservation(active);
      store.finishReservation(expired);
      expect(store.readReservation(expired.id)).toEqual(expired);
      const {
        description: _d,
        scopeFilter: _f,
        metadata: _m,
        revokedAtMs: _v,
        allowedOrigins: _o,
        revokedReason: _w,
        ...key
      } = API_KEY;
      store.insertApiKey(key);
      expect(store.readApiKey(key.keyId)).toEqual(key);
    });

    scenario("only the whole id finds a reservation, only its stem another way", (store) => {
      store.insertReservation(reservation(OLD));
      expect(store.readReservation(OLD)).toBeUndefined();
      expect(store.readReservation(`${OLD}sealsealsealmasX`)).toBeUndefined();
      expect(store.findReservation([NEW])).toBeUndefined();
      expect(store.findReservation([])).toBeUndefined();
      expect(store.findReservation([NEW, OLD])).toEqual(reservation(OLD));
    });

    scenario("accounts are read in the order asked, and scanned by scope and unit", (store) => {
      for (const scope of ["tenant:acme/agent:b", "tenant:acme", "tenant:acme/agent:a"])
        store.insertAccount(account(scope));
      store.insertAccount(account("tenant:acme", "CREDITS"));
      const names = (rows: Iterable<AccountRecord>) => [...rows].map((row) => `${row.scope} ${row.unit}`);
      expect(names(store.readAccounts(["tenant:acme", "tenant:acme/agent:a", "none"], "TOKENS"))).toEqual([
        "tenant:acme TOKENS",
        "tenant:acme/agent:a TOKENS",
      ]);
      expect(names(store.readAccounts(["tenant:acme"])).sort()).toEqual([
        "tenant:acme CREDITS",
        "tenant:acme TOKENS",
      ]);
      const all = [
        "tenant:acme CREDITS",
        "tenant:acme TOKENS",
        "tenant:acme/agent:a TOKENS",
        "tenant:acme/agent:b TOKENS",
      ];
      expect(names(store.scanAccounts())).toEqual(all);
      expect(names(store.scanAccounts({ scope: "tenant:acme", unit: "TOKENS" }))).toEqual(all.slice(2));
      expect(store.countAccounts()).toBe(4);
    });

    scenario("tokens come and go with their caps, which are no budgets", (store) => {
      const ids = ["aa01", "aa02", "ab01"].map((stem) => stem.padEnd(32, "0"));
      const [first = "", second = "", third = ""] = ids;
      const token: TokenRecord = {
        tokenId: first,
        ancestors: [third],
        keyId: "0123456789ab",
        name: "page",
        scope: "tenant:acme/agent:a",
        unit: "TOKENS",
        permissions: ["reservations:create"],
        cap: INT64_MAX,
        maxPerOperation: INT64_MAX - 1n,
        allowedOrigins: ["https://app.example"],
        createdAtMs: 1,
        expiresAtMs: 2,
        revokedAtMs: 3,
      };
      const {
        keyId: _k,
        name: _n,
        maxPerOperation: _m,
        allowedOrigins: _o,
        revokedAtMs: _r,
        ...plain
      } = token;
      store.insertToken(token);
      store.insertToken({ ...plain, tokenId: second, ancestors: [] });
      store.insertToken({ ...plain, tokenId: third, ancestors: [] });
      expect(store.readToken(first)).toEqual(token);
      expect(store.readToken(second)).toEqual({ ...plain, tokenId: second, ancestors: [] });
      expect(store.readTokensAfter("", 2).map(({ tokenId }) => tokenId)).toEqual([first, second]);
      expect(store.readTokensAfter(second, 2).map(({ tokenId }) => tokenId)).toEqual([third]);
      expect([store.countTokens(), store.countTokens("aa"), store.countTokens("b")]).toEqual([3, 2, 0]);
      store.transact(() => {
        expect(store.readToken(second)?.revokedAtMs).toBeUndefined();
        // Only its end and its revocation are written.
        store.updateToken({ ...plain, tokenId: second, cap: 0n, expiresAtMs: 9, revokedAtMs: 8 });
        expect(store.readToken(second)).toMatchObject({ cap: INT64_MAX, expiresAtMs: 9, revokedAtMs: 8 });
      });

      const cap = { scope: `x-token:${first}`, unit: "TOKENS" } as const;
      store.insertAccount(account("tenant:acme"));
      store.insertAccount(account(cap.scope));
      expect([...store.scanAccounts()]).toEqual([account("tenant:acme")]);
      expect(store.countAccounts()).toBe(1);
      expect(store.readAccounts([cap.scope], "TOKENS")).toEqual([account(cap.scope)]);
      store.transact(() => {
        store.updateAccount({ ...account(cap.scope), spent: 1n });
        store.deleteToken(first);
        store.deleteAccount(cap);
        expect(store.readToken(first)).toBeUndefined();
        expect(store.readAccounts(["tenant:acme", cap.scope], "TOKENS")).toEqual([account("tenant:acme")]);
      });
      expect(store.readAccounts([cap.scope])).toEqual([]);
      expect(store.countTokens()).toBe(2);
      const failing = () =>
        store.transact(() => {
          store.deleteToken(second);
          store.deleteAccount({ scope: "tenant:acme", unit: "TOKENS" });
          throw new Error("undone");
        });
      expect(failing).toThrow("undone");
      expect([store.countTokens(), store.countAccounts()]).toEqual([2, 1]);
    });

    scenario("figures are written exactly, and nothing else of an account", (store) => {
      store.insertAccount(account("tenant:acme"));
      const changed = {
        ...account("tenant:acme"),
        spent: INT64_MAX - 1n,
        debt: 0n,
        overLimitMark: false,
        updatedAtMs: 9,
      };
      store.updateAccount(changed);
      expect(store.readAccounts(["tenant:acme"])).toEqual([changed]);
    });

    scenario(
      "what an update does not write is seen by nobody, neither in its transaction nor after it",
      (store) => {
        const before = account("tenant:acme");
        store.insertAccount(before);
        const other = {
          ...before,
          status: "FROZEN",
          overdraftLimit: 77n,
          settings: { rolloverPolicy: "x" },
        } as const;
        const seen = () => store.readAccounts([before.scope], before.unit);
        store.transact(() => {
          expect(seen()).toEqual([before]);
          store.updateAccount({ ...other, spent: 5n });
          expect(seen()).toEqual([{ ...before, spent: 5n }]);
          store.updateAccount({ ...other, spent: 6n });
          expect(seen()).toEqual([{ ...before, spent: 6n }]);
        });
        expect(seen()).toEqual([{ ...before, spent: 6n }]);
        store.updateAccount({ ...other, spent: 7n });
        expect(seen()).toEqual([{ ...before, spent: 7n }]);
      },
    );

    scenario("an operator's change writes all of an account but its key", (store) => {
      store.insertAccount(account("tenant:acme"));
      store.insertAccount(account("tenant:acme", "CREDITS"));
      const { commitOveragePolicy: _, ...changed } = {
        ...account("tenant:acme"),
        allocated: 8n,
        spent: 1n,
        reserved: 2n,
        debt: 3n,
        overdraftLimit: 4n,
        overLimitMark: false,
        status: "CLOSED" as const,
        settings: { metadata: { new: true } },
        updatedAtMs: 9,
      };
      store.rewriteAccount(changed);
      expect(store.readAccounts(["tenant:acme"], "TOKENS")).toEqual([changed]);
      expect(store.readAccounts(["tenant:acme"], "CREDITS")).toEqual([account("tenant:acme", "CREDITS")]);
    });

    scenario("API keys are changed and scanned by id", (store) => {
      const key = (keyId: string) => ({ ...API_KEY, keyId });
      for (const keyId of ["cccccccccccc", "aaaaaaaaaaaa", "bbbbbbbbbbbb"]) store.insertApiKey(key(keyId));
      const {
        revokedAtMs: _,
        revokedReason: __,
        ...changed
      } = {
        ...key("bbbbbbbbbbbb"),
        name: "other",
        description: "other",
        permissions: ["admin:read" as const],
        scopeFilter: ["app:x"],
        metadata: {},
        remainingTtl: true,
        allowedOrigins: undefined,
      };
      store.updateApiKey(changed);
      expect([...store.scanApiKeys()]).toEqual([key("aaaaaaaaaaaa"), changed, key("cccccccccccc")]);
      expect([...store.scanApiKeys("aaaaaaaaaaaa")].map(({ keyId }) => keyId)).toEqual([
        "bbbbbbbbbbbb",
        "cccccccccccc",
      ]);
    });

    scenario("the audit log counts up, is read backwards, and loses its oldest rows", (store) => {
      for (let atMs = 1; atMs <= 6; atMs += 1) store.insertAudit({ ...AUDIT, atMs });
      const seqs = (before?: number) => [...store.scanAudit(before)].map(({ seq }) => seq);
      expect([seqs(), seqs(4), seqs(1)]).toEqual([[6, 5, 4, 3, 2, 1], [3, 2, 1], []]);
      const prune = (beforeMs: number, rowsKept: number, rowsMax: number) =>
        store.pruneAudit({ beforeMs, rowsKept, rowsMax });
      expect([prune(1, 6, 9), prune(4, 6, 2), seqs()]).toEqual([0, 2, [6, 5, 4, 3]]);
      expect([prune(0, 2, 9), seqs()]).toEqual([2, [6, 5]]);
      expect([prune(100, 0, 9), seqs()]).toEqual([1, [6]]);
      store.insertAudit({ ...AUDIT, atMs: 7 });
      expect(seqs()).toEqual([7, 6]);
    });

    scenario("a budget's period and window come back, change and go", (store) => {
      store.insertAccount(periodic("tenant:acme"));
      const read = () => store.readAccounts(["tenant:acme"], "TOKENS")[0];
      expect(read()).toEqual(periodic("tenant:acme"));
      const turned = {
        ...periodic("tenant:acme"),
        spent: 1n,
        window: { startMs: 5, endMs: 9, carriedDebt: 0n },
      };
      store.updateAccount(turned);
      expect(read()).toEqual(turned);
      const every = {
        ...turned,
        period: { rule: { kind: "every", everyMs: 7, anchorMs: 3 }, allocated: 8n },
      } as const;
      store.rewriteAccount(every);
      expect(read()).toEqual(every);
      const { period: _, ...ended } = { ...turned, window: { startMs: 5, carriedDebt: 6n } };
      store.rewriteAccount(ended);
      expect(read()).toEqual(ended);
      expect([...store.scanAccounts()]).toEqual([ended]);
    });

    scenario("passed windows are found by time, replaced, and pruned from the oldest on", (store) => {
      const key = account("tenant:acme");
      for (const [startMs, reserved] of [
        [20, 0n],
        [10, 5n],
        [30, 0n],
        [40, 0n],
      ] as const) {
        store.writeWindow(key, passed(startMs, reserved));
      }
      store.writeWindow(account("tenant:acme", "CREDITS"), passed(25));
      expect(store.findWindow(key, 29)).toEqual(passed(20));
      expect(store.findWindow(key, 30)).toEqual(passed(30));
      expect(store.findWindow(key, 9)).toBeUndefined();
      expect(store.readWindows(key, 2)).toEqual([passed(40), passed(30)]);
      store.writeWindow(key, { ...passed(30), spent: 7n });
      expect(store.findWindow(key, 30)?.spent).toBe(7n);
      const prune = (rowsMax: number) => store.pruneWindows({ key, rowsKept: 1, rowsMax });
      expect([prune(1), prune(9), prune(9)]).toEqual([1, 1, 0]);
      expect(store.readWindows(key, 9).map(({ startMs }) => startMs)).toEqual([40, 10]);
      store.deleteWindow(key, 10);
      expect(store.readWindows(key, 9)).toEqual([passed(40)]);
      expect(store.readWindows(account("tenant:acme", "CREDITS"), 9)).toEqual([passed(25)]);
    });

    scenario("reservations remember their windows", (store) => {
      const held = { ...reservation(OLD), windows: [1_800_000_000_000, 0] };
      store.insertReservation(held);
      expect(store.findReservation([OLD])).toEqual(held);
      const done = { ...finished(OLD), windows: held.windows };
      store.finishReservation(done);
      expect(store.readReservation(done.id)).toEqual(done);
    });

    scenario("policies come back in the order they were made, each as it was last written", (store) => {
      expect(store.readPolicies()).toEqual([]);
      const second: PolicyRecord = {
        policyId: "pol_acme_10",
        name: "plain",
        scopePattern: "tenant:acme",
        priority: 0,
        rules: {},
        status: "ACTIVE",
        createdAtMs: 9,
        updatedAtMs: 9,
      };
      store.writePolicy(POLICY);
      store.writePolicy(second);
      store.writePolicy({ ...POLICY, policyId: "pol_acme_2", name: "third" });
      expect(store.readPolicies().map(({ policyId }) => policyId)).toEqual([
        "pol_acme_1",
        "pol_acme_10",
        "pol_acme_2",
      ]);
      const changed = { ...POLICY, name: "renamed", rules: {}, updatedAtMs: 10 };
      store.writePolicy(changed);
      expect(store.readPolicies().slice(0, 2)).toEqual([changed, second]);
    });

    scenario("rate counters are replaced by name and pruned by minute", (store) => {
      store.writeRate({ name: "a", minute: 5, granted: 3 });
      store.writeRate({ name: "a", minute: 6, granted: 1 });
      store.writeRate({ name: "b", minute: 4, granted: 2 });
      expect(store.readRate("a")).toEqual({ name: "a", minute: 6, granted: 1 });
      expect([store.pruneRates({ minuteBelow: 6, rowsMax: 9 }), store.readRate("b")]).toEqual([1, undefined]);
      expect(store.readRate("a")?.granted).toBe(1);
    });

    scenario("an extension moves the deadline", (store) => {
      store.insertReservation(reservation(OLD));
      const extensions = [{ key: "e", fingerprint: "f", reply: "{}" }];
      store.updateReservation({ ...reservation(OLD), expiresAtMs: 1_800_000_070_000, extensions });
      expect([...store.scanDeadlines()]).toEqual([
        {
          id: reservation(OLD).id,
          deadlineMs: 1_800_000_075_000,
          unit: "TOKENS",
          keyId: "0123456789ab",
          scopes: reservation(OLD).scopes,
        },
      ]);
      expect(store.findReservation([OLD])?.extensions).toEqual(extensions);
    });

    scenario("a finished reservation has no deadline", (store) => {
      store.insertReservation(reservation(OLD));
      store.finishReservation(finished(OLD));
      expect([...store.scanDeadlines()]).toEqual([]);
    });

    scenario("a second row under one key is refused", (store) => {
      store.insertReservation(reservation(OLD));
      expect(() => store.insertReservation(reservation(OLD))).toThrow();
      store.insertAccount(account("tenant:acme"));
      expect(() => store.insertAccount(account("tenant:acme"))).toThrow();
    });

    scenario("finished reservations are pruned by day and by time, a slice at once", (store) => {
      for (const stem of ["rAAA0000000000000001", "rAAA0000000000000002", "rAAA0000000000000003", NEW]) {
        store.insertReservation(reservation(stem));
        store.finishReservation(finished(stem, stem.endsWith("3") ? 5000 : 1000));
      }
      const prune = (rowsMax: number) =>
        store.pruneFinished({ idBelow: "rAAB", finishedBeforeMs: 2000, rowsMax });
      expect([prune(1), prune(5), prune(5)]).toEqual([1, 1, 0]);
      expect(store.findReservation(["rAAA0000000000000003"])?.status).toBe("COMMITTED");
      expect(store.findReservation([NEW])?.status).toBe("COMMITTED");
    });

    scenario(
      "reservations are scanned in either order, by halves, between places, a bounded number",
      (store) => {
        // Id order and creation order differ; two were created at once.
        const at: Record<string, number> = { A1: 30, A2: 10, A3: 20, B1: 20, B2: 40 };
        const nameOf = (id: string) => id.slice(1, 2) + id.slice(19, 20);
        for (const [name, createdAtMs] of Object.entries(at)) {
          const row = { ...reservation(`r${name[0]}AA000000000000000${name[1]}`), createdAtMs };
          store.insertReservation(row);
          if (name !== "A3" && name !== "B2") {
            const { id } = row;
            store.finishReservation({ ...finished(id.slice(0, 20)), ...row, status: "COMMITTED" });
          }
        }
        const everything = {
          halves: ["active", "finished"] as const,
          above: { createdAtMs: 0, id: "" },
          below: { createdAtMs: Number.MAX_SAFE_INTEGER, id: "~" },
          rowsMax: 9,
        };
        const scan = (order: "created" | "id", descending: boolean, rest: Partial<ReservationScan> = {}) =>
          [...store.scanReservations({ order, descending, ...everything, ...rest })]
            .map(({ id }) => nameOf(id))
            .join(" ");
        expect(scan("created", false)).toBe("A2 A3 B1 A1 B2");
        expect(scan("created", true)).toBe("B2 A1 B1 A3 A2");
        expect(scan("id", false)).toBe("A1 A2 A3 B1 B2");
        expect(scan("id", true)).toBe("B2 B1 A3 A2 A1");
        expect(scan("created", true, { halves: ["finished"] })).toBe("A1 B1 A2");
        expect(scan("id", true, { halves: ["active"] })).toBe("B2 A3");
        expect(scan("created", true, { rowsMax: 2 })).toBe("B2 A1");
        const b1 = { createdAtMs: 20, id: reservation("rBAA0000000000000001").id };
        expect(scan("created", true, { below: b1 })).toBe("A3 A2");
        expect(scan("created", false, { above: b1 })).toBe("A1 B2");
        expect(scan("id", false, { above: b1 })).toBe("B2");
        const window = { above: { createdAtMs: 20, id: "" }, below: { createdAtMs: 30, id: "~" } };
        expect(scan("created", false, window)).toBe("A3 B1 A1");
        expect(scan("created", false, { ...window, halves: [] })).toBe("");
        // What comes out is the whole record.
        expect([...store.scanReservations({ order: "id", descending: false, ...everything })][0]).toEqual(
          store.findReservation(["rAAA0000000000000001"]),
        );
      },
    );

    scenario("answers are found within their days and pruned after them", (store) => {
      const answer = { key: "k", fingerprint: "f", reply: '{"amount":9223372036854775807}' };
      store.insertAnswer("fund:a", 20_010, answer);
      const read = (fromDay: number, namespace = "fund:a") =>
        store.readAnswer({ namespace, key: "k", fromDay, toDay: fromDay + 7 });
      expect([read(20_003), read(20_010)]).toEqual([answer, answer]);
      expect([read(20_011), read(20_002), read(20_003, "fund:b")]).toEqual([undefined, undefined, undefined]);
      expect(store.pruneAnswers({ expiresBeforeDay: 20_010, rowsMax: 9 })).toBe(0);
      expect(store.pruneAnswers({ expiresBeforeDay: 20_011, rowsMax: 9 })).toBe(1);
      expect(read(20_003)).toBeUndefined();
    });

    scenario("a throw undoes everything, one of an inner transaction too", (store) => {
      store.writeTenant(TENANT);
      store.insertAccount(account("tenant:acme"));
      store.insertReservation(reservation(OLD));
      store.writeWindow(account("tenant:acme"), passed(10));
      store.writePolicy(POLICY);
      store.writeRate({ name: "a", minute: 5, granted: 3 });
      const bug = new Error("bug");
      const changeAll = () => {
        store.writeTenant({ ...TENANT, name: "Changed", updatedAtMs: 2_000_000_000_000 });
        store.updateAccount({ ...account("tenant:acme"), spent: 1n, updatedAtMs: 2_000_000_000_000 });
        store.insertAccount(account("tenant:acme/agent:a"));
        store.finishReservation(finished(OLD));
        store.insertReservation(reservation(NEW));
        store.updateReservation({ ...reservation(NEW), expiresAtMs: 5 });
        store.insertAnswer("n", 20_010, { key: "k", fingerprint: "f", reply: "{}" });
        store.insertApiKey(API_KEY);
        store.updateApiKey({ ...API_KEY, name: "changed" });
        store.rewriteAccount({ ...account("tenant:acme"), status: "CLOSED", updatedAtMs: 2_000_000_000_000 });
        store.insertAudit(AUDIT);
        store.insertAudit(AUDIT);
        store.pruneAudit({ beforeMs: 0, rowsKept: 1, rowsMax: 9 });
        store.rewriteAccount({ ...periodic("tenant:acme/agent:a"), updatedAtMs: 2_000_000_000_000 });
        store.writeWindow(account("tenant:acme"), passed(1));
        store.deleteWindow(account("tenant:acme"), 10);
        store.writePolicy({ ...POLICY, name: "changed" });
        store.writePolicy({ ...POLICY, policyId: "pol_acme_2" });
        store.writeRate({ name: "a", minute: 6, granted: 9 });
      };
      const untouched = () => {
        expect(store.readTenant()).toEqual(TENANT);
        expect([...store.scanAccounts()]).toEqual([account("tenant:acme")]);
        expect(store.findReservation([OLD])).toEqual(reservation(OLD));
        expect(store.findReservation([NEW])).toBeUndefined();
        expect(
          store.readAnswer({ namespace: "n", key: "k", fromDay: 20_010, toDay: 20_010 }),
        ).toBeUndefined();
        expect(store.readApiKey(API_KEY.keyId)).toBeUndefined();
        expect([...store.scanAudit()]).toEqual([]);
        expect(store.readWindows(account("tenant:acme"), 9)).toEqual([passed(10)]);
        expect(store.readPolicies()).toEqual([POLICY]);
        expect(store.readRate("a")?.granted).toBe(3);
        expect(store.latestTimeMs()).toBe(1_800_000_000_002);
      };
      expect(() =>
        store.transact(() => {
          changeAll();
          throw bug;
        }),
      ).toThrow(bug);
      untouched();

      // Even where somebody catches it: what is outermost goes with it, and says why.
      expect(() =>
        store.transact(() => {
          store.insertAccount(account("tenant:acme/agent:before"));
          expect(() =>
            store.transact(() => {
              changeAll();
              throw bug;
            }),
          ).toThrow(bug);
          store.insertAccount(account("tenant:acme/agent:after"));
        }),
      ).toThrow(bug);
      untouched();
      // And the next one begins afresh.
      store.transact(() => {
        store.transact(() => store.insertAccount(account("tenant:acme/agent:kept")));
      });
      expect(store.countAccounts()).toBe(2);

      expect(() =>
        store.transact(() => {
          store.transact(changeAll);
          throw bug;
        }),
      ).toThrow(bug);
      expect(store.countAccounts()).toBe(2);
      expect(store.findReservation([OLD])?.status).toBe("ACTIVE");
      expect(store.transact(() => "the result")).toBe("the result");
    });
  });
}
