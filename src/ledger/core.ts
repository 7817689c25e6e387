// What every operation shares: one turn at a time in one transaction, the clock that never goes back, who is calling.
// Invariant: a turn that throws leaves no trace; what is remembered is forgotten with it, and the next turn reads it anew.
// Who may call: the operations of this folder.

import type { GenericSchema } from "valibot";
import type { PathResult } from "../kernel/accounts.ts";
import { type Authenticated, authenticate, type Principal } from "./access.ts";
import type { Caller } from "./api-keys.ts";
import { PATH_REFUSALS, type Refusal, refuse } from "./codes.ts";
import { HoldBook, type HoldBookOptions } from "./hold-book.ts";
import { LeaseIds, ReservationIds } from "./ids.ts";
import type { LeaseSettings } from "./lease-record.ts";
import { CLOCK_BACK_MS_MAX } from "./limits.ts";
import { type Permission, permits } from "./permissions.ts";
import { type Governance, type PolicyRecord, PolicySet } from "./policies.ts";
import { oldestRateMinute, RateCounters } from "./rates.ts";
import { validate } from "./schema.ts";
import type { AccountRecord, TenantRecord } from "./store.ts";
import { isCapScope } from "./tokens.ts";

export { accountsOn, dayOf, deadlineOf, statusAt, type TenantLimits } from "./hold-book.ts";

export interface LedgerOptions extends HoldBookOptions {
  /** The tenant whose ledger this is; one ledger never holds two. */
  readonly tenant: string;
  /** Secrets that reservation ids are derived from; the first one issues, all are accepted. */
  readonly secrets: readonly string[];
}

/** One call: its time, and its caller. Without a caller it is trusted: an operator, or a Worker with the binding. */
export interface Turn {
  readonly nowMs: number;
  readonly caller?: Caller | undefined;
  readonly source?: CallSource | undefined;
}

/** The HTTP request that a call came in by. No decision looks at it; the audit log keeps it. */
export interface CallSource {
  readonly requestId: string;
  /** 32 lower-case hex characters. */
  readonly traceId: string;
  /** The front has checked the operator's key. */
  readonly operator: boolean;
  readonly userAgent?: string | undefined;
  readonly sourceIp?: string | undefined;
}

export interface Admitted<Request> {
  readonly ok: true;
  readonly request: Request;
  readonly principal: Principal;
  readonly tenant: TenantRecord;
  /** Absent where no key was needed. */
  readonly permissions?: readonly Permission[] | undefined;
}

export class LedgerCore extends HoldBook {
  readonly tenant: string;
  readonly ids: ReservationIds;
  readonly leaseIds: LeaseIds;
  #policies: PolicySet | undefined;
  #rates: RateCounters | undefined;
  #seenMs: number | undefined;
  /** Up to where tokens were looked at for some to forget. @see forgetTokens */
  tokensSeenTo = "";

  constructor(options: LedgerOptions) {
    super(options);
    this.tenant = options.tenant;
    this.ids = new ReservationIds(options.secrets);
    this.leaseIds = new LeaseIds(options.secrets);
  }

  /** All policies, read from the store once and again after one was written. */
  get policies(): PolicySet {
    this.#policies ??= new PolicySet(this.store.readPolicies());
    return this.#policies;
  }

  writePolicy(policy: PolicyRecord): void {
    this.store.writePolicy(policy);
    this.#policies = undefined;
  }

  writeLeaseSettings(settings: LeaseSettings): void {
    this.store.writeLeaseSettings(settings);
    this.leases.settings = settings;
  }

  /** What the policies say about a request on these scopes. */
  governing(scopes: readonly string[], nowMs: number): Governance {
    return this.policies.governing(scopes, nowMs);
  }

  get rates(): RateCounters {
    this.#rates ??= new RateCounters(this.store);
    return this.#rates;
  }

  override prune(nowMs: number, rowsMax: number): void {
    super.prune(nowMs, rowsMax);
    this.#rates?.forgetBefore(oldestRateMinute(nowMs));
  }

  /**
   * Runs one operation whole or not at all. `decide` gets the operation's only time: the host's, or the latest that an
   * earlier turn saw or wrote while the host's clock is behind that by no more than {@link CLOCK_BACK_MS_MAX}.
   * Refusals are values and keep what expiry settled.
   */
  run<T>(turn: Turn, decide: (nowMs: number) => T): T {
    if (!Number.isSafeInteger(turn.nowMs) || turn.nowMs < 0) {
      throw new RangeError(`nowMs: must be milliseconds since the epoch, a safe integer, got ${turn.nowMs}`);
    }
    const seenMs = this.#seenMs ?? this.store.latestTimeMs();
    const wasWrong = seenMs - turn.nowMs > CLOCK_BACK_MS_MAX;
    const nowMs = wasWrong ? turn.nowMs : Math.max(seenMs, turn.nowMs);
    this.beginMoment(turn.nowMs);
    try {
      const result = this.store.transact(() => {
        if (wasWrong) this.shortenLives(nowMs);
        return decide(nowMs);
      });
      this.#seenMs = nowMs;
      return result;
    } catch (error) {
      this.forgetHolds();
      this.#policies = undefined;
      this.#rates = undefined;
      throw error;
    }
  }

  /** 401, then 400, then 403: the key, the request, the page it comes from, the permission (where one is needed). */
  admit<Request>(
    turn: Turn,
    nowMs: number,
    wanted: { schema: GenericSchema<unknown, Request>; input: unknown; permission?: Permission },
  ): Admitted<Request> | Refusal {
    const known = this.authenticate(turn, nowMs);
    if (!known.ok) return known;
    const request = validate(wanted.schema, wanted.input);
    if (!request.ok) return request;
    if (known.originRefusal !== undefined) return known.originRefusal;
    const { permission } = wanted;
    if (
      known.permissions !== undefined &&
      permission !== undefined &&
      !permits(known.permissions, permission)
    ) {
      const code = /^(?:budgets|policies):/.test(permission) ? "INSUFFICIENT_PERMISSIONS" : "FORBIDDEN";
      const who = known.principal.token === undefined ? "API key" : "token";
      return refuse(code, `The ${who} lacks the permission ${permission}`);
    }
    const { principal, tenant, permissions } = known;
    return { ok: true, request: request.value, principal, tenant, permissions };
  }

  /** The tenant, and what the caller may do. */
  authenticate(turn: Turn, nowMs: number): Authenticated | Refusal {
    return authenticate(this, turn.caller, nowMs);
  }
}

/** The refusal of a path of accounts, naming the first account that refused and its figures. */
export function refusePath(
  core: LedgerCore,
  accounts: readonly AccountRecord[],
  result: PathResult & { ok: false },
  requested: bigint,
): Refusal {
  const { error, words } = PATH_REFUSALS[result.reason];
  const account = accounts[result.index];
  if (account === undefined) throw new Error(`kernel: refused account ${result.index} of ${accounts.length}`);
  const what = isCapScope(account.scope) ? `${words} the token's cap` : words;
  return refuse(error, `${what}: ${account.scope}`, {
    scope: account.scope,
    unit: account.unit,
    requested,
    remaining: core.arithmetic.remaining(account),
    allocated: account.allocated,
    reserved: account.reserved,
    spent: account.spent,
    debt: account.debt,
    overdraft_limit: account.overdraftLimit,
    ...(account.window?.endMs !== undefined &&
      account.current === undefined && { resets_at_ms: account.window.endMs }),
  });
}
