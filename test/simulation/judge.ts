// Compares a ledger with its model after every step: the reply, every figure, every reservation, and the invariants
// that need no model. Invariant: a turn that was rolled back changed nothing at all; a refusal changes nothing but what
// had expired anyway. Throws at the first difference. Who may call: the host, once per step.

import type { AccountRecord, EventBody, Ledger, LedgerStore, Reservation } from "purser/ledger";
import type { AnyReply, Call } from "./calls.ts";
import { difference, shown } from "./engine/difference.ts";
import type { Answered, HostJudge } from "./host.ts";
import { type AppliedEvent, type Asked, findViolation } from "./invariants.ts";
import { judge as judgeReply } from "./model/answers.ts";
import type { Model } from "./model/model.ts";
import { forgetCount } from "./model/policies.ts";
import { deadlineOf, type ModelBudget, type ModelReservation } from "./model/state.ts";
import { scopesOf } from "./model/wire.ts";
import { type Snapshot, snapshotOf } from "./snapshot.ts";

export class Judge implements HostJudge<Call> {
  readonly #model: Model;
  readonly #store: LedgerStore;
  #snapshot: Snapshot;

  constructor(model: Model, store: LedgerStore) {
    this.#model = model;
    this.#store = store;
    this.#snapshot = snapshotOf(store, []);
  }

  /** These calls were answered in this order, and what they did is kept: one transaction, at one time. */
  answered(group: readonly Answered<Call>[], hostMs: number): void {
    const nowMs = this.#model.begin(hostMs);
    const asked = group.map(({ call, reply }) => {
      this.#forgetPruned(call, reply, nowMs);
      const kept = this.#model.state.answers.length;
      const expected = this.#model.foretell(call, nowMs, reply);
      const isNew = this.#model.state.answers.length > kept;
      const wrong = judgeReply(expected, reply);
      if (wrong !== undefined) throw new Error(`${call.op}: ${wrong}`);
      return { call, reply, applied: isNew ? appliedBy(call, reply) : undefined };
    });
    this.#compareStore(nowMs, asked);
  }

  /** A call of this same group may have pruned what this one asks for; the model forgets only what is old enough. */
  #forgetPruned(call: Call, reply: AnyReply, nowMs: number): void {
    if (!("id" in call) || reply.ok || reply.error !== "NOT_FOUND") return;
    const reservation = this.#model.state.reservations.get(call.id);
    if (reservation !== undefined) this.#model.forget(reservation, nowMs);
  }

  /** A sweep ran to its end: nothing that was due may be left. */
  swept(hostMs: number): void {
    const nowMs = this.#model.begin(hostMs);
    this.#compareStore(nowMs);
    const late = this.#snapshot.active.find((each) => each.expiresAtMs + each.gracePeriodMs < nowMs);
    if (late !== undefined) throw new Error(`sweep: ${late.id} was due and is still held`);
  }

  /** A turn threw: the store must be as it was, to the row. */
  rolledBack(): void {
    const after = snapshotOf(this.#store, this.#model.state.reservations.keys());
    const wrong =
      difference([...this.#snapshot.accounts.values()], [...after.accounts.values()], "accounts") ??
      difference(
        [...this.#snapshot.reservations.values()],
        [...after.reservations.values()],
        "reservations",
      ) ??
      difference(this.#snapshot.tenant, after.tenant, "tenant") ??
      difference(this.#snapshot.policies, after.policies, "policies") ??
      this.#wrongRate() ??
      difference(this.#snapshot.audited, after.audited, "the audit log's newest row");
    if (wrong !== undefined) throw new Error(`rolled back: ${wrong}`);
  }

  /** The process ended; what it had in memory is gone. */
  restarted(): void {
    this.#model.restart();
  }

  /** The earliest deadline that the ledger knows is the store's. */
  checkDeadlines(ledger: Ledger): void {
    const first = this.#firstDeadlineMs;
    if (ledger.nextDeadlineMs !== first) {
      throw new Error(`deadlines: the ledger's first is ${ledger.nextDeadlineMs}, the store's is ${first}`);
    }
  }

  /** The alarm never rings after the first deadline's first moment. */
  checkAlarm(alarmAtMs: number | undefined): void {
    const first = this.#firstDeadlineMs;
    if (first !== undefined && (alarmAtMs === undefined || alarmAtMs > first + 1)) {
      throw new Error(`alarm: set for ${alarmAtMs}, the first deadline is ${first}`);
    }
  }

  get #firstDeadlineMs(): number | undefined {
    const deadlines = this.#snapshot.active.map((each) => each.expiresAtMs + each.gracePeriodMs);
    return deadlines.length === 0 ? undefined : Math.min(...deadlines);
  }

  get activeReservations(): number {
    return this.#snapshot.active.length;
  }

  #compareStore(nowMs: number, asked: readonly Asked[] = []): void {
    const { state } = this.#model;
    const before = this.#snapshot;
    const after = snapshotOf(this.#store, state.reservations.keys());
    this.#snapshot = after;
    const violation = findViolation({ before, after, asked });
    if (violation !== undefined) throw new Error(violation);
    for (const reservation of [...state.reservations.values()]) {
      this.#compareReservation(reservation, after.reservations.get(reservation.id), nowMs);
    }
    if (after.reservations.size !== state.reservations.size) {
      throw new Error(
        `the store has ${after.reservations.size} reservations, the model ${state.reservations.size}`,
      );
    }
    if (after.policies.length !== state.policies.length) {
      throw new Error(`the store has ${after.policies.length} policies, the model ${state.policies.length}`);
    }
    for (const name of [...state.rates.keys()]) {
      if (this.#store.readRate(name) === undefined) forgetCount(state, name, nowMs);
    }
    const wrongRate = this.#wrongRate();
    if (wrongRate !== undefined) throw new Error(wrongRate);
    if (after.audited !== state.audited) {
      throw new Error(`the audit log has ${after.audited} rows, the operators made ${state.audited} changes`);
    }
    if (after.accounts.size !== state.budgets.size) {
      throw new Error(`the store has ${after.accounts.size} budgets, the model ${state.budgets.size}`);
    }
    for (const [name, budget] of state.budgets) {
      const stored = after.accounts.get(name);
      // Made anew, an event that charges nothing leaves its time, and its mark where a budget was short.
      if (state.ambiguous && stored?.updatedAtMs === nowMs) {
        Object.assign(budget, { updatedAtMs: nowMs, mark: stored.overLimitMark });
      }
      compareBudget(name, budget, stored);
    }
    this.#forgetAnswersGone();
  }

  /** Where the store has counted other calls than were let through: limits are so small that it is told of each. */
  #wrongRate(): string | undefined {
    for (const [name, { minute, calls }] of this.#model.state.rates) {
      const wrong = difference({ name, minute, granted: calls }, this.#store.readRate(name), `rate ${name}`);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  /** An event's answer that may be gone is looked for, since its reply alone need not tell a repetition from a new one. */
  #forgetAnswersGone(): void {
    const { state } = this.#model;
    state.answers = state.answers.filter(({ doubtful, namespace, key, expiresDay }) => {
      if (!doubtful || namespace !== "event") return true;
      return this.#store.readAnswer({ namespace, key, fromDay: expiresDay, toDay: expiresDay }) !== undefined;
    });
  }

  #compareReservation(model: ModelReservation, stored: Reservation | undefined, nowMs: number): void {
    if (stored === undefined) {
      this.#model.forget(model, nowMs);
      return;
    }
    if (model.state === "ACTIVE" && stored.status === "EXPIRED") this.#model.writeExpiry(model, nowMs);
    if (isSame(model, stored)) return;
    const wrong = difference(
      {
        status: model.state,
        amount: model.amount,
        unit: model.unit,
        scopes: model.scopes,
        policy: model.policy,
        deadlineMs: deadlineOf(model),
        extensions: model.extensions.length,
        charged: model.charged,
      },
      {
        status: stored.status,
        amount: stored.amount,
        unit: stored.unit,
        scopes: stored.scopes,
        policy: stored.overagePolicy,
        deadlineMs: stored.expiresAtMs + stored.gracePeriodMs,
        extensions: stored.extensions.length,
        charged: stored.status === "ACTIVE" ? undefined : stored.charged,
      },
      model.id,
    );
    if (wrong !== undefined) throw new Error(wrong);
  }
}

/** What an event charged when it was applied. */
function appliedBy(call: Call, reply: AnyReply): AppliedEvent | undefined {
  if (call.op !== "event" || !reply.ok) return undefined;
  const { charged = call.body.actual } = reply.body as EventBody;
  return { unit: charged.unit, scopes: scopesOf({ ...call.body.subject }), charged: BigInt(charged.amount) };
}

/** Compared without making anything, since this runs for every reservation after every step. */
function isSame(model: ModelReservation, stored: Reservation): boolean {
  return (
    model.state === stored.status &&
    model.amount === stored.amount &&
    model.unit === stored.unit &&
    model.policy === stored.overagePolicy &&
    deadlineOf(model) === stored.expiresAtMs + stored.gracePeriodMs &&
    model.extensions.length === stored.extensions.length &&
    model.scopes.length === stored.scopes.length &&
    model.scopes.every((scope, index) => scope === stored.scopes[index]) &&
    (stored.status === "ACTIVE" || model.charged === stored.charged)
  );
}

/** What is reserved is judged by the invariants: the store may still hold what the model knows to be expired. */
function compareBudget(name: string, model: ModelBudget, stored: AccountRecord | undefined): void {
  const isEqual =
    stored !== undefined &&
    model.allocated === stored.allocated &&
    model.spent === stored.spent &&
    model.debt === stored.debt &&
    model.limit === stored.overdraftLimit &&
    model.mark === stored.overLimitMark &&
    model.status === stored.status &&
    model.policy === stored.commitOveragePolicy &&
    model.updatedAtMs === stored.updatedAtMs;
  if (!isEqual) throw new Error(`budget ${name}: expected ${shown(model)}, got ${shown(stored)}`);
}
