// Opening a lease: a slice out of every budgeted scope of a subject, all or none, as large as wanted or smaller.
// Invariant: what is granted is reserved on every account of its path from the same moment on; a grant is never below the
// minimum; the same key and body get the same lease, as it stands now. Who may call: the Ledger.

import type { Principal } from "./access.ts";
import { mismatch, printOf, replayStems } from "./answers.ts";
import { type Refusal, type Reply, refuse, succeed } from "./codes.ts";
import { type Admitted, accountsOn, dayOf, type LedgerCore, type Turn } from "./core.ts";
import { evaluate, scopesFor } from "./evaluation.ts";
import { evenShare, largestFit, least, most } from "./fit.ts";
import type { LeaseRecord } from "./lease-record.ts";
import { type LeaseRequest, leaseSchema } from "./lease-schema.ts";
import { recallFrom, shortageOf, tightestOf } from "./lease-shares.ts";
import { type LeaseBody, leaseBody, shortageText } from "./lease-wire.ts";
import { LEASE_DEFAULTS } from "./limits.ts";
import type { Governance } from "./policies.ts";
import { scopesOf } from "./scope.ts";
import type { AccountRecord, TenantRecord } from "./store.ts";
import { capScopesOf, isCapScope, ownKey } from "./tokens.ts";
import { windowsOf } from "./windows.ts";

export function openLease(core: LedgerCore, input: unknown, turn: Turn): Reply<LeaseBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: leaseSchema,
      input,
      permission: "reservations:create",
    });
    if (!admitted.ok) return admitted;
    const { request, principal, tenant } = admitted;
    const place = scopesFor(core, request.subject, principal);
    if (!place.ok) return place;
    const print = printOf(request);
    // The epoch is part of the name: after a restore the same key opens another lease.
    const name = `${core.leases.settings.epoch} ${ownKey(principal.token, request.idempotency_key)}`;
    const earlier = core.store.findLease(replayStems(core.leaseIds, core.tenant, name, nowMs));
    if (earlier === undefined) return grant(core, admitted, { scopes: place.scopes, print, name, nowMs });
    return earlier.fingerprint === print ? succeed(presentBody(core, tenant, earlier, nowMs)) : mismatch();
  });
}

function grant(
  core: LedgerCore,
  { request, principal, tenant }: Admitted<LeaseRequest>,
  { scopes, print, name, nowMs }: { scopes: readonly string[]; print: string; name: string; nowMs: number },
): Reply<LeaseBody> {
  const { unit, min } = request;
  // As a renewal: a token's holder gets what it may have at once, and is refused where that is less than it can use.
  const want = most(min, least(request.want, principal.token?.maxPerOperation ?? request.want));
  let granted = 0n;
  const amountOf = (accounts: readonly AccountRecord[]): bigint => {
    const { account, remaining } = tightestOf(core, accounts);
    const share = evenShare(core.leases.lendable(account, remaining, nowMs, print));
    // Where not even the minimum fits, it is what the refusal is about.
    granted = largestFit({ want, min }, remaining, share) ?? min;
    return granted;
  };
  const estimate = { unit, amount: want };
  // His request as it is: asked for again, it is the same holder's.
  const who = { principal, asker: print, member: "want" } as const;
  const evaluation = evaluate(core, { estimate }, { tenant, scopes, nowMs, isLive: true, amountOf, ...who });
  if (!evaluation.ok) return evaluation.refusal;
  const crowded = limitReached(core, principal);
  if (crowded !== undefined) return crowded;

  const { accounts, figures, governance } = evaluation;
  const { remaining, index } = tightestOf(core, accounts);
  const { epoch, onExpiry, graceMs } = core.leases.settings;
  const ttlMs = lifeOf(
    core,
    tenant,
    governance,
    request.ttl_ms ?? governance.ttl.defaultMs ?? LEASE_DEFAULTS.ttlMs,
  );
  const lease: LeaseRecord = {
    id: core.leaseIds.issue(core.tenant, name, dayOf(nowMs)),
    epoch,
    fingerprint: print,
    subject: request.subject,
    unit,
    scopes: accounts.map(({ scope }) => scope),
    windows: windowsOf(accounts),
    granted,
    spent: 0n,
    returned: 0n,
    held: 0n,
    charged: 0n,
    sequence: 0,
    shortage:
      granted < want
        ? shortageText(shortageOf(core, accounts, { index, requested: want, remaining }))
        : undefined,
    ttlMs,
    graceMs,
    onExpiry,
    holder: request.holder,
    status: "ACTIVE",
    createdAtMs: nowMs,
    renewedAtMs: nowMs,
    expiresAtMs: nowMs + ttlMs,
    keyId: principal.keyId,
  };
  const written = core.writeFigures(accounts, figures, nowMs);
  core.store.insertLease(lease);
  core.leases.set(lease);
  core.leases.noteGranted(accounts, print);
  core.rates.count(governance.rates.reservations, nowMs);
  const recall = recallFrom(core, tenant, lease, written, nowMs);
  return succeed(leaseBody(core, lease, { recall, accounts: written, nowMs }));
}

/** Whether the tenant, or the API key or token that asks, has as many leases as it may. */
function limitReached(core: LedgerCore, { keyId, token }: Principal): Refusal | undefined {
  const { deadlines } = core.leases;
  const { leasesMax: max, leasesPerKeyMax: perKeyMax, leasesPerTokenMax: perTokenMax } = core.limits;
  if (deadlines.size >= max) return refuse("LIMIT_EXCEEDED", `At most ${max} leases may be held at once`);
  const isFull = capScopesOf(token).some(
    (scope) => token !== undefined && deadlines.countOn({ scope, unit: token.unit }) >= perTokenMax,
  );
  if (isFull)
    return refuse("LIMIT_EXCEEDED", `At most ${perTokenMax} leases of one token may be held at once`);
  return keyId !== undefined && deadlines.countOf(keyId) >= perKeyMax
    ? refuse("LIMIT_EXCEEDED", `At most ${perKeyMax} leases of one API key may be held at once`)
    : undefined;
}

/** The scopes that a lease's path has now: its subject's, and the caps of the token that it was opened with. */
export function pathOf({ subject, scopes }: LeaseRecord): string[] {
  return [...scopesOf(subject), ...scopes.filter(isCapScope)];
}

/** How long a lease may last: what is asked for, within what the policies, the tenant and its settings allow. */
export function lifeOf(
  core: LedgerCore,
  tenant: TenantRecord,
  { ttl }: Governance,
  wantedMs: number,
): number {
  const { ttlMsMax } = core.leases.settings;
  return Math.min(wantedMs, ttl.maxMs ?? ttlMsMax, tenant.maxReservationTtlMs, ttlMsMax);
}

/** A lease at this moment, with what is due on its path settled; itself, if its own time is over. */
export function leaseAt(
  core: LedgerCore,
  lease: LeaseRecord,
  nowMs: number,
): { readonly lease: LeaseRecord; readonly unfinished: Refusal | undefined } {
  const { unfinished } = core.settleDue(nowMs, accountsOn(lease.unit, lease.scopes));
  if (lease.endedAtMs !== undefined) return { lease, unfinished };
  if (!core.leases.has(lease.id)) return { lease: core.store.readLease(lease.id) ?? lease, unfinished };
  // Its time is over whether or not there was room to settle it.
  const isPast = nowMs > lease.expiresAtMs + lease.graceMs;
  return { lease: isPast ? core.expireLease(lease, nowMs) : lease, unfinished };
}

/** What is answered to whoever says nothing new: the lease as it stands. */
export function presentBody(
  core: LedgerCore,
  tenant: TenantRecord,
  known: LeaseRecord,
  nowMs: number,
): LeaseBody {
  const { lease, unfinished } = leaseAt(core, known, nowMs);
  const accounts = core.readAccounts(pathOf(lease), lease.unit, nowMs);
  const recall = recallFrom(core, tenant, lease, accounts, nowMs);
  return leaseBody(core, lease, { recall, accounts: unfinished === undefined ? accounts : undefined, nowMs });
}
