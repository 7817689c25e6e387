// Looks at the books after every step of a simulation of leases: what must hold whatever was asked, what each answer says of
// the row it is about, that nothing goes back, and that a turn that was undone left no trace.
// Invariant: throws at the first difference. Who may call: the host, once per step.

import type { LeaseBody, LeaseRecord, Ledger, LedgerStore, Unit } from "purser/ledger";
import type { AnyReply } from "../calls.ts";
import { difference, shown } from "../engine/difference.ts";
import type { Answered, HostJudge } from "../host.ts";
import { scopesOf } from "../model/wire.ts";
import {
  type Books,
  booksOf,
  chargedOf,
  isOn,
  outstandingOf,
  setAsideOf,
  type WritableBooks,
} from "./books.ts";
import { type LeaseCall, leaseIn } from "./calls.ts";
import { type Claims, findLeaseViolation } from "./invariants.ts";
import type { Slice } from "./slice.ts";

const LIFE_MS_MAX = 600_000;
/** How far the host's clock may be behind before the ledger follows it back. */
const HICCUP_MS = 300_000;
/** A lease as it was when it was opened, within the step that ended it as well. */
const UNTOUCHED = {
  status: "ACTIVE",
  spent: 0n,
  held: 0n,
  returned: 0n,
  charged: 0n,
  sequence: 0,
  endedAtMs: undefined,
} as const;

export class LeaseJudge implements HostJudge<LeaseCall> {
  #store: LedgerStore;
  readonly #slices: ReadonlyMap<string, Slice>;
  readonly #claims = new Map<string, Claims>();
  readonly #reservationIds = new Set<string>();
  #eventKeys = new Set<string>();
  /** Leases that ended so long ago that the store has forgotten them, as they were. */
  readonly #pruned = new Map<string, LeaseRecord>();
  #books: WritableBooks;
  #restored = false;

  constructor(store: LedgerStore, slices: ReadonlyMap<string, Slice>) {
    this.#store = store;
    this.#slices = slices;
    this.#books = booksOf(store, []);
  }

  answered(group: readonly Answered<LeaseCall>[], hostMs: number): void {
    const events = new Map<string, bigint>();
    for (const { call, reply } of group) {
      if (call.op === "reserve" && reply.ok) {
        this.#reservationIds.add((reply.body as { reservation_id: string }).reservation_id);
      }
    }
    const after = booksOf(this.#store, this.#reservationIds);
    for (const { call, reply } of group) {
      if (call.op === "renewLease" || call.op === "returnLease") this.#hear(call, reply, after);
      if (call.op === "event") this.#addEvent(call, reply, after, events);
    }
    const { epoch } = this.#books;
    this.#compare(after, events, group);
    this.#checkLives(hostMs);
    const only = group.length === 1 ? group[0] : undefined;
    if (only !== undefined) this.#checkAnswer(only, hostMs);
    if (only?.call.op === "raiseEpoch" && only.reply.ok && after.epoch <= epoch)
      throw new Error(`raiseEpoch: from ${epoch} to ${after.epoch}`);
  }

  swept(hostMs: number): void {
    this.#compare(booksOf(this.#store, this.#reservationIds), new Map(), []);
    for (const lease of this.#books.leases.values()) {
      if (outstandingOf(lease) > 0n && deadlineOf(lease) < hostMs)
        throw new Error(`sweep: ${lease.id} was due and is still out: ${shown(lease)}`);
    }
  }

  rolledBack(): void {
    const after = booksOf(this.#store, this.#reservationIds);
    const wrong =
      difference([...this.#books.accounts.values()], [...after.accounts.values()], "accounts") ??
      difference([...this.#books.reservations.values()], [...after.reservations.values()], "reservations") ??
      difference(this.#stored, [...after.leases.values()], "leases");
    if (wrong !== undefined) throw new Error(`rolled back: ${wrong}`);
  }

  restarted(): void {}

  /** Another store stands in its place, and knows less: what was set aside since its backup is allowed for by name. */
  restored(store: LedgerStore, eventKeys: ReadonlySet<string>): void {
    const before = this.#books;
    this.#store = store;
    this.#restored = true;
    this.#books = booksOf(store, this.#reservationIds);
    this.#pruned.clear();
    this.#eventKeys = new Set(eventKeys);
    for (const id of new Set([...before.leases.keys(), ...this.#books.leases.keys()])) {
      const claims = this.#claimsOn(id);
      const lost = setAsideOf(before.leases.get(id)) - setAsideOf(this.#books.leases.get(id));
      if (lost > 0n) claims.forgotten += lost;
      claims.spent = 0n;
      claims.atEnd = greatest(claims.atEnd, setAsideOf(this.#books.leases.get(id)));
    }
  }

  checkDeadlines(ledger: Ledger): void {
    const first = this.#firstDeadlineMs;
    if (ledger.nextDeadlineMs !== first)
      throw new Error(`deadlines: the ledger's first is ${ledger.nextDeadlineMs}, the store's is ${first}`);
  }

  checkAlarm(alarmAtMs: number | undefined): void {
    const first = this.#firstDeadlineMs;
    if (first !== undefined && (alarmAtMs === undefined || alarmAtMs > first + 1))
      throw new Error(`alarm: set for ${alarmAtMs}, the first deadline is ${first}`);
  }

  /** What is still out: nothing, when nothing is left to happen. */
  get out(): bigint {
    let out = 0n;
    for (const { reserved } of this.#books.accounts.values()) out += reserved;
    return out;
  }

  get books(): Books {
    return this.#books;
  }

  get #firstDeadlineMs(): number | undefined {
    const deadlines: number[] = [];
    for (const each of this.#books.reservations.values())
      if (each.status === "ACTIVE") deadlines.push(each.expiresAtMs + each.gracePeriodMs);
    for (const lease of this.#books.leases.values())
      if (isDeadlined(lease)) deadlines.push(deadlineOf(lease));
    return deadlines.length === 0 ? undefined : Math.min(...deadlines);
  }

  get #stored(): LeaseRecord[] {
    return [...this.#books.leases.values()].filter(({ id }) => !this.#pruned.has(id));
  }

  #hear(
    call: LeaseCall & { readonly op: "renewLease" | "returnLease" },
    reply: AnyReply,
    { leases }: Books,
  ): void {
    const slice = this.#slices.get(call.id);
    if (!reply.ok) {
      // Perhaps by an earlier call of the same group.
      const wasKnown = this.#pruned.has(call.id) || this.#books.leases.has(call.id);
      const isForgotten = reply.error === "NOT_FOUND" && wasKnown && !leases.has(call.id);
      if (slice?.invented === 0n && !isForgotten)
        throw new Error(`${call.op} of an honest holder: ${reply.status} ${reply.message}`);
      return;
    }
    const claims = this.#claimsOn(call.id);
    const spent = BigInt(call.body.spent);
    claims.spent = greatest(claims.spent, spent);
    claims.spentAndHeld = greatest(claims.spentAndHeld, spent + BigInt(call.body.held));
  }

  #claimsOn(id: string): Claims {
    const known = this.#claims.get(id);
    if (known !== undefined) return known;
    const claims = { spent: 0n, spentAndHeld: 0n, atEnd: 0n, refunded: 0n, forgotten: 0n, isRevived: false };
    this.#claims.set(id, claims);
    return claims;
  }

  #addEvent(
    { body }: LeaseCall & { readonly op: "event" },
    reply: AnyReply,
    { accounts }: Books,
    events: Map<string, bigint>,
  ): void {
    if (!reply.ok || this.#eventKeys.has(body.idempotency_key)) return;
    this.#eventKeys.add(body.idempotency_key);
    const { charged = body.actual } = reply.body as { charged?: { unit: Unit; amount: bigint | number } };
    const scopes = scopesOf({ ...body.subject });
    for (const [name, account] of accounts) {
      if (!isOn(account, { unit: charged.unit, scopes })) continue;
      events.set(name, (events.get(name) ?? 0n) + BigInt(charged.amount));
    }
  }

  #compare(
    after: WritableBooks,
    events: ReadonlyMap<string, bigint>,
    group: readonly Answered<LeaseCall>[],
  ): void {
    const before = this.#books;
    for (const [id, lease] of before.leases) {
      if (after.leases.has(id)) continue;
      if (lease.endedAtMs === undefined) throw new Error(`${id} is gone: ${shown(lease)}`);
      this.#pruned.set(id, asReported(lease, group));
    }
    for (const [id, lease] of this.#pruned) {
      if (!after.leases.has(id)) after.leases.set(id, lease);
      else this.#revive(id, lease);
    }
    for (const [id, lease] of after.leases) this.#compareLease(before.leases.get(id), lease);
    this.#books = after;
    const violation = findLeaseViolation({
      before,
      after,
      slices: this.#slices,
      claims: this.#claims,
      events,
      isGroup: group.length > 1,
      restored: this.#restored,
    });
    if (violation !== undefined) throw new Error(violation);
  }

  /**
   * A clock that was weeks ahead let the store forget it, the clock was put right, and its holder reported: nobody can tell it
   * from a lease that a restore has lost. What it was charged before is charged, and so is this.
   */
  #revive(id: string, forgotten: LeaseRecord): void {
    this.#pruned.delete(id);
    this.#books.leases.delete(id);
    const claims = this.#claimsOn(id);
    claims.forgotten += setAsideOf(forgotten);
    claims.spent = 0n;
    claims.isRevived = true;
  }

  /** What is cumulative never goes back, and what has ended has ended. */
  #compareLease(before: LeaseRecord | undefined, after: LeaseRecord): void {
    if (before === undefined) {
      this.#compareLease({ ...after, ...UNTOUCHED }, after);
      return;
    }
    // Of what has ended nothing more is granted, but for what was spent beyond it and is charged.
    const isMoreGranted = after.granted > before.granted && after.granted > after.spent + after.returned;
    const wentBack =
      after.granted < before.granted ||
      after.spent < before.spent ||
      after.returned < before.returned ||
      after.sequence < before.sequence ||
      (before.status !== "ACTIVE" && (after.status === "ACTIVE" || isMoreGranted));
    if (wentBack) throw new Error(`a lease went back: from ${shown(before)} to ${shown(after)}`);
    if (after.endedAtMs === undefined) return;
    // It may have grown and been reported on within the group that ended it.
    const claims = this.#claimsOn(after.id);
    const { granted, returned, spent, charged } = after;
    if (before.endedAtMs === undefined) claims.atEnd = greatest(claims.atEnd, granted - before.returned);
    // What an expiry by `refund` gave back may still be spent.
    if (after.onExpiry === "charge") return;
    const rest =
      before.endedAtMs === undefined
        ? granted - before.returned - before.spent
        : granted - returned - spent - charged;
    claims.refunded = greatest(claims.refunded, rest);
  }

  /** Whatever the clock said before, nothing is out for longer than the longest life from now, grace and hiccup aside. */
  #checkLives(hostMs: number): void {
    for (const lease of this.#books.leases.values()) {
      const leftMs = lease.expiresAtMs - hostMs;
      if (lease.endedAtMs === undefined && leftMs > LIFE_MS_MAX + HICCUP_MS)
        throw new Error(`${lease.id} stays out for ${leftMs} ms: ${shown(lease)}`);
    }
  }

  /** The answer says what the row says, and lends no longer than was asked. */
  #checkAnswer({ call, reply }: Answered<LeaseCall>, hostMs: number): void {
    if (call.op !== "openLease" && call.op !== "renewLease" && call.op !== "returnLease") return;
    const lease = leaseIn(reply);
    if (lease === undefined) return;
    const row = this.#books.leases.get(lease.lease_id);
    if (row === undefined)
      throw new Error(`${call.op}: answered for a lease that is not there: ${shown(lease)}`);
    const wrong = difference(
      {
        granted: row.granted,
        outstanding: outstandingOf(row),
        state: row.status === "ACTIVE" ? "active" : "ended",
        sequence: row.sequence,
        expiresAtMs: row.expiresAtMs,
      },
      saidBy(lease),
      call.op,
    );
    if (wrong !== undefined) throw new Error(wrong);
    if (row.status === "ACTIVE" && deadlineOf(row) < hostMs)
      throw new Error(`${call.op}: ${row.id} is overdue`);
    if (call.op === "openLease" && row.sequence === 0) {
      const least = "min" in call.body ? BigInt(call.body.min ?? 1) : 1n;
      if (row.granted < least || row.granted > BigInt(call.body.want))
        throw new Error(`openLease: ${row.granted} granted, asked were ${least} to ${call.body.want}`);
    }
  }
}

/** A lease that had ended, with what the group's calls reported on it before the store forgot it within the same group. */
function asReported(lease: LeaseRecord, group: readonly Answered<LeaseCall>[]): LeaseRecord {
  let known = lease;
  for (const { call, reply } of group) {
    if ((call.op !== "renewLease" && call.op !== "returnLease") || call.id !== lease.id || !reply.ok)
      continue;
    const [spent, held] = [BigInt(call.body.spent), BigInt(call.body.held)];
    if (call.body.sequence <= known.sequence) continue;
    // A renewal only adds: who sends one has gone on spending.
    const total = call.op === "returnLease" ? spent + held : greatest(chargedOf(known), spent + held);
    known = { ...known, spent, charged: total - spent, sequence: call.body.sequence };
  }
  return known;
}

function saidBy({ granted, outstanding, state, sequence, expires_at_ms }: LeaseBody) {
  return {
    granted: BigInt(granted.amount),
    outstanding,
    state,
    sequence,
    expiresAtMs: expires_at_ms,
  };
}

/** Whether the ledger keeps a deadline for it: what is out will have to come back. */
function isDeadlined({ endedAtMs }: LeaseRecord): boolean {
  return endedAtMs === undefined;
}

function deadlineOf({ expiresAtMs, graceMs }: LeaseRecord): number {
  return expiresAtMs + graceMs;
}

function greatest(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
