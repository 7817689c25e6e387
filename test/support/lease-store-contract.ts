// What every LedgerStore must do with leases, beside ledger-store-contract.ts: records come back as they went in, ended ones
// in their order, and of refunded ones the exact sum.

import { INT64_MAX, type LeaseRecord, type LedgerStore } from "purser/ledger";
import { expect } from "vitest";

/** Stems of two days. */
const OLD = "lAAA0000000000000000";
const NEW = "lAAB0000000000000000";

function lease(stem: string, rest: Partial<LeaseRecord> = {}): LeaseRecord {
  return {
    id: `${stem}sealsealsealmask`,
    epoch: 2 ** 50,
    fingerprint: "print",
    subject: { tenant: "acme", agent: "A", dimensions: { team: "x" } },
    unit: "TOKENS",
    scopes: ["tenant:acme", "tenant:acme/agent:a"],
    windows: [1_800_000_000_000, 1_800_000_000_001],
    granted: INT64_MAX,
    spent: 2n ** 53n + 1n,
    returned: 3n,
    held: 2n ** 60n,
    charged: 0n,
    sequence: 7,
    shortage: '{"error":"BUDGET_EXCEEDED"}',
    ttlMs: 60_000,
    graceMs: 5_000,
    onExpiry: "charge",
    holder: "page ü",
    keyId: "0123456789ab",
    status: "ACTIVE",
    createdAtMs: 1_800_000_000_000,
    renewedAtMs: 1_800_000_000_005,
    expiresAtMs: 1_800_000_060_000,
    ...rest,
  };
}

const ended = (at: number): Partial<LeaseRecord> => ({ status: "EXPIRED", endedAtMs: at });

/** Each check gets an empty store. */
export function leaseStoreScenarios(
  scenario: (title: string, check: (store: LedgerStore) => void) => void,
): void {
  const ids = (leases: Iterable<LeaseRecord>) => [...leases].map(({ id }) => id);

  scenario("a lease comes back as it went in, active and ended", (store) => {
    expect(store.readLease(lease(OLD).id)).toBeUndefined();
    expect(store.readLeaseSettings()).toBeUndefined();
    store.insertLease(lease(OLD));
    expect(store.readLease(lease(OLD).id)).toEqual(lease(OLD));
    expect(store.findLease([NEW, OLD])).toEqual(lease(OLD));
    expect(store.findLease([NEW])).toBeUndefined();
    const changed = lease(OLD, {
      spent: 9n,
      held: 0n,
      scopes: ["tenant:acme"],
      windows: undefined,
      sequence: 8,
    });
    store.updateLease({ ...changed, holder: "nobody", onExpiry: "refund" });
    expect(store.readLease(lease(OLD).id)).toEqual(changed);
    expect([...store.scanOpenLeases()]).toEqual([changed]);
    const over = lease(OLD, { ...ended(1_800_000_099_000), charged: INT64_MAX, shortage: undefined });
    store.updateLease(over);
    expect(store.readLease(lease(OLD).id)).toEqual(over);
    expect([...store.scanOpenLeases()]).toEqual([]);
    store.updateLease({ ...over, charged: 1n, status: "RETURNED" });
    expect(store.readLease(lease(OLD).id)).toMatchObject({ charged: 1n, status: "RETURNED" });
    store.insertLease(lease(NEW, ended(5)));
    expect(store.findLease([NEW])?.endedAtMs).toBe(5);

    const settings = { epoch: 2 ** 50, onExpiry: "refund", ttlMsMax: 1_000, graceMs: 0 } as const;
    store.writeLeaseSettings(settings);
    store.writeLeaseSettings({ ...settings, epoch: 2 ** 51 });
    expect(store.readLeaseSettings()).toEqual({ ...settings, epoch: 2 ** 51 });
  });

  scenario("leases are listed newest first, and pruned by day and end", (store) => {
    const stems = ["lAAA1", "lAAA2", "lAAA3", "lAAB4"].map((stem) => stem.padEnd(20, "0"));
    for (const [index, stem] of stems.entries()) {
      const rest = index % 2 === 0 ? {} : ended(100 + index);
      store.insertLease(lease(stem, { createdAtMs: index < 2 ? 10 : 20, ...rest }));
    }
    const [a = "", b = "", c = "", d = ""] = stems.map((stem) => lease(stem).id);
    const newest = { createdAtMs: Number.MAX_SAFE_INTEGER, id: "~" };
    expect(ids(store.scanLeases({ below: newest, rowsMax: 9 }))).toEqual([d, c, b, a]);
    expect(ids(store.scanLeases({ below: newest, rowsMax: 2 }))).toEqual([d, c]);
    expect(ids(store.scanLeases({ below: { createdAtMs: 20, id: c }, rowsMax: 9 }))).toEqual([b, a]);
    expect(store.pruneLeases({ idBelow: "lAAB", endedBeforeMs: 101, rowsMax: 9 })).toBe(0);
    store.pruneLeases({ idBelow: "lAAB", endedBeforeMs: 1_000, rowsMax: 9 });
    expect(ids(store.scanLeases({ below: newest, rowsMax: 9 }))).toEqual([d, c, a]);
  });

  scenario("what refunded leases may have spent is summed exactly, by unit, beyond any int64", (store) => {
    expect(store.readUnreported()).toEqual([]);
    const refunded = { ...ended(9), onExpiry: "refund" as const, spent: 1n, returned: 0n, held: 0n };
    store.insertLease(lease("lAAA1".padEnd(20, "0"), refunded));
    store.insertLease(lease("lAAA2".padEnd(20, "0"), { ...refunded, charged: 5n }));
    store.insertLease(
      lease("lAAA3".padEnd(20, "0"), { ...refunded, unit: "CREDITS", granted: 3n, charged: 1n }),
    );
    // None of these: by the other policy, not ended, returned, all of it charged.
    store.insertLease(lease("lAAA4".padEnd(20, "0"), { ...refunded, onExpiry: "charge" }));
    store.insertLease(lease("lAAA5".padEnd(20, "0"), { onExpiry: "refund" }));
    store.insertLease(lease("lAAA6".padEnd(20, "0"), { ...refunded, status: "RETURNED" }));
    store.insertLease(
      lease("lAAA7".padEnd(20, "0"), { ...refunded, unit: "RISK_POINTS", granted: 3n, charged: 9n }),
    );
    const sums = [...store.readUnreported()].sort((x, y) => (x.unit < y.unit ? -1 : 1));
    expect(sums).toEqual([
      { unit: "CREDITS", amount: 1n },
      { unit: "TOKENS", amount: 2n * INT64_MAX - 7n },
    ]);
  });

  scenario("a throw undoes what was written of leases", (store) => {
    store.insertLease(lease(OLD));
    const bug = new Error("bug");
    expect(() =>
      store.transact(() => {
        store.updateLease(lease(OLD, { ...ended(5), spent: 0n }));
        store.insertLease(lease(NEW));
        store.writeLeaseSettings({ epoch: 2, onExpiry: "refund", ttlMsMax: 1_000, graceMs: 0 });
        throw bug;
      }),
    ).toThrow(bug);
    expect(store.readLease(lease(OLD).id)).toEqual(lease(OLD));
    expect(store.readLease(lease(NEW).id)).toBeUndefined();
    expect(store.readLeaseSettings()).toBeUndefined();
  });
}
