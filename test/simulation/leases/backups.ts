// The store's backups. A ledger is a function of what was asked of it and when, so a backup is a place in the list of turns that
// were kept, and restoring is playing them again into an empty store: no store needs to know how to be copied. What an
// operator does next is part of it: the epoch is raised before anyone is answered.
// Invariant: it sees every step before the judge does, and hides none. Who may call: simulate.ts.

import { type AccountRecord, Ledger, type LedgerOptions, type LedgerStore } from "purser/ledger";
import { difference } from "../engine/difference.ts";
import { type FaultyStore, faultyStore, InjectedFault } from "../engine/faulty-store.ts";
import type { Answered, HostJudge, UndoneTurn } from "../host.ts";
import { type LeaseCall, perform } from "./calls.ts";

type Kept =
  | { readonly calls: readonly LeaseCall[]; readonly hostMs: number }
  | { readonly sweptMs: number }
  | { readonly undone: UndoneTurn }
  | "restarted";

export interface Backup {
  readonly kept: readonly Kept[];
  /** What every budget stood at. */
  readonly accounts: readonly AccountRecord[];
}

export class Backups implements HostJudge<LeaseCall> {
  readonly #judge: HostJudge<LeaseCall>;
  #kept: Kept[] = [];

  constructor(judge: HostJudge<LeaseCall>) {
    this.#judge = judge;
  }

  /** The state as it is now, of the store that is there now. */
  take(accounts: Iterable<AccountRecord>): Backup {
    return { kept: [...this.#kept], accounts: [...accounts] };
  }

  /**
   * Brings a backup into an empty store and raises the epoch. From here on, that is what happened.
   * @returns the keys of the events that the restored store has charged
   */
  restore(
    backup: Backup,
    store: LedgerStore,
    options: Omit<LedgerOptions, "store">,
    hostMs: number,
  ): ReadonlySet<string> {
    const eventKeys = new Set<string>();
    const play = (ledger: Ledger, call: LeaseCall, nowMs: number): void => {
      const reply = perform(ledger, call, { nowMs });
      if (call.op === "event" && reply.ok) eventKeys.add(call.body.idempotency_key);
    };
    const faulty = faultyStore(store);
    const open = (): Ledger => new Ledger({ ...options, store: faulty.store });
    let ledger = open();
    for (const kept of backup.kept) {
      if (kept === "restarted") ledger = open();
      else if ("undone" in kept) playUndone(ledger, faulty, kept.undone);
      else if ("sweptMs" in kept) ledger.sweep({ nowMs: kept.sweptMs });
      else for (const call of kept.calls) play(ledger, call, kept.hostMs);
    }
    const restored = [...store.scanAccounts()].map(figuresOf);
    const wrong = difference(backup.accounts.map(figuresOf), restored, "the restored budgets");
    if (wrong !== undefined) throw new Error(wrong);
    const raise = { op: "raiseEpoch" } as const;
    const raised = perform(ledger, raise, { nowMs: hostMs });
    if (!raised.ok) throw new Error(`raising the epoch was refused: ${raised.message}`);
    this.#kept = [...backup.kept, { calls: [raise], hostMs }];
    return eventKeys;
  }

  answered(group: readonly Answered<LeaseCall>[], hostMs: number): void {
    this.#kept.push({ calls: group.map(({ call }) => call), hostMs });
    this.#judge.answered(group, hostMs);
  }

  swept(hostMs: number): void {
    this.#kept.push({ sweptMs: hostMs });
    this.#judge.swept(hostMs);
  }

  rolledBack(undone?: UndoneTurn): void {
    // Such a turn is no part of the store, but of what the ledger remembers: the time, and how much it has settled at it.
    if (undone !== undefined) this.#kept.push({ undone });
    this.#judge.rolledBack();
  }

  restarted(): void {
    this.#kept.push("restarted");
    this.#judge.restarted();
  }

  checkDeadlines(ledger: Ledger): void {
    this.#judge.checkDeadlines(ledger);
  }

  checkAlarm(alarmAtMs: number | undefined): void {
    this.#judge.checkAlarm(alarmAtMs);
  }
}

/** Lets a turn fail again, where it failed. */
function playUndone(ledger: Ledger, faulty: FaultyStore<LedgerStore>, { turn, fault }: UndoneTurn): void {
  faulty.arm(fault);
  try {
    turn(ledger);
  } catch (error) {
    if (error instanceof InjectedFault) return;
    throw error;
  } finally {
    faulty.disarm();
  }
  throw new Error("a turn that failed does not fail again");
}

/** All but when a budget was last written, which a call that changed nothing may move. */
function figuresOf({ updatedAtMs: _, ...account }: AccountRecord): Omit<AccountRecord, "updatedAtMs"> {
  return account;
}
