// The model of one tenant's ledger: foretells every reply, in the ledger's time. Invariant: the ledger's time never goes
// back, except behind a reading that was wrong by more than five minutes; then holds end within the tenant's longest
// life from now. Who may call: the judge, once per turn that was kept.

import type { AnyReply, Call } from "../calls.ts";
import { ageAnswers } from "./answers.ts";
import { foretellEvent } from "./eventing.ts";
import { foretellFreeze, foretellUpdateBudget, foretellUpdateTenant } from "./governing.ts";
import { foretellBalances, foretellCreateBudget, foretellFund } from "./operating.ts";
import { foretellCreatePolicy, foretellUpdatePolicy } from "./policies.ts";
import { foretellDecide, foretellReserve } from "./reserving.ts";
import { foretellCommit, foretellExtend, foretellGet, foretellRelease } from "./settling.ts";
import {
  budgetsOn,
  dayOf,
  deadlineOf,
  type Expected,
  type ModelReservation,
  type ModelState,
  type ModelTenant,
  MS_PER_DAY,
} from "./state.ts";

const HICCUP_MS_MAX = 300_000;

export class Model {
  readonly state: ModelState;
  #seenMs: number | undefined;

  constructor(tenant: ModelTenant, activeMax: number, foreignIds: ReadonlySet<string>) {
    this.state = {
      tenant,
      activeMax,
      foreignIds,
      budgets: new Map(),
      reservations: new Map(),
      answers: [],
      policies: [],
      rates: new Map(),
      audited: 1,
      ambiguous: false,
    };
  }

  /** What was in memory is lost: the latest time known is the latest that was written. */
  restart(): void {
    this.#seenMs = undefined;
  }

  /** A turn begins: the ledger's time for what the host's clock shows. */
  begin(hostMs: number): number {
    const { budgets, tenant, reservations } = this.state;
    const writtenMs = Math.max(
      tenant.updatedAtMs,
      ...[...budgets.values()].map(({ updatedAtMs }) => updatedAtMs),
    );
    const seenMs = this.#seenMs ?? writtenMs;
    const wasWrong = seenMs - hostMs > HICCUP_MS_MAX;
    const nowMs = wasWrong ? hostMs : Math.max(seenMs, hostMs);
    if (wasWrong) {
      for (const each of reservations.values()) {
        if (each.state === "ACTIVE") each.expiresAtMs = Math.min(each.expiresAtMs, nowMs + tenant.maxTtlMs);
      }
    }
    this.#seenMs = nowMs;
    this.state.ambiguous = false;
    ageAnswers(this.state, nowMs);
    return nowMs;
  }

  /** The reply that must have come. The real one is looked at only for what the ledger is free to choose. */
  foretell(call: Call, nowMs: number, reply: AnyReply): Expected {
    switch (call.op) {
      case "reserve":
        return foretellReserve(this.state, call.body, nowMs, reply);
      case "decide":
        return foretellDecide(this.state, call.body, nowMs, reply);
      case "event":
        return foretellEvent(this.state, call.body, nowMs, reply);
      case "commit":
        return foretellCommit(this.state, call.id, call.body, nowMs);
      case "release":
        return foretellRelease(this.state, call.id, call.body, nowMs);
      case "extend":
        return foretellExtend(this.state, call.id, call.body, nowMs);
      case "get":
        return foretellGet(this.state, call.id, nowMs);
      case "balances":
        return foretellBalances(this.state, call.query, nowMs);
      case "createBudget":
        return foretellCreateBudget(this.state, call.body, nowMs);
      case "updateBudget":
        return foretellUpdateBudget(this.state, call.query, call.body, nowMs);
      case "freeze":
        return foretellFreeze(this.state, call.query, "FROZEN", nowMs);
      case "unfreeze":
        return foretellFreeze(this.state, call.query, "ACTIVE", nowMs);
      case "updateTenant":
        return foretellUpdateTenant(this.state, call.body, nowMs);
      case "createPolicy":
        return foretellCreatePolicy(this.state, call.body, nowMs);
      case "updatePolicy":
        return foretellUpdatePolicy(this.state, call.policyId, call.body, nowMs);
      case "fund":
        return foretellFund(this.state, call.query, call.body, nowMs, reply);
    }
  }

  /** A reservation is no longer kept: allowed 32 days after it was made and 30 after it was finished. */
  forget(reservation: ModelReservation, nowMs: number): void {
    const { id, createdAtMs, finishedAtMs } = reservation;
    const isOld = dayOf(createdAtMs) < dayOf(nowMs) - 32 && (finishedAtMs ?? nowMs) < nowMs - 30 * MS_PER_DAY;
    if (reservation.state === "ACTIVE" || !isOld)
      throw new Error(`${id} is gone, which was ${reservation.state}`);
    this.state.reservations.delete(id);
  }

  /** The ledger wrote an expiry down, which it may do at any time once the deadline has passed. */
  writeExpiry(reservation: ModelReservation, nowMs: number): void {
    if (nowMs <= deadlineOf(reservation)) {
      throw new Error(
        `${reservation.id} was expired at ${nowMs}, its deadline is ${deadlineOf(reservation)}`,
      );
    }
    Object.assign(reservation, { state: "EXPIRED", finishedAtMs: nowMs });
    for (const budget of budgetsOn(this.state, reservation.scopes, reservation.unit))
      budget.updatedAtMs = nowMs;
  }
}
