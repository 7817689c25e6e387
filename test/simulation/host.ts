// The process that holds one tenant's ledger, and dies: the store survives it, everything in memory does not. It keeps
// the alarm as the Durable Object does (at the earliest deadline, moved only earlier) and lets it ring late, early and
// twice. Invariant: every turn, kept or rolled back, is one step and is judged. Who may call: the network, the schedule.

import { Ledger, type LedgerOptions, type LedgerStore } from "purser/ledger";
import { type AnyReply, type Call, perform } from "./calls.ts";
import type { Chance } from "./engine/chance.ts";
import { shown } from "./engine/difference.ts";
import { type FaultPoint, type FaultyStore, faultyStore, InjectedFault } from "./engine/faulty-store.ts";
import type { HostClock } from "./engine/host-clock.ts";
import type { Scheduler } from "./engine/scheduler.ts";
import type { Tally } from "./engine/tally.ts";
import type { Judge } from "./judge.ts";

/** Probabilities per turn, and per alarm. */
export interface HostFaults {
  /** Dies after the turn was kept, before anyone is answered. */
  readonly diesBeforeReply: number;
  /** Dies or merely fails in the middle of a turn. */
  readonly failsInTurn: number;
  /** The commit that several turns share fails, and with it all of them. */
  readonly failsAsGroup: number;
  readonly alarmLate: number;
  readonly alarmEarly: number;
  readonly alarmTwice: number;
}

export interface HostParts {
  readonly ledger: Omit<LedgerOptions, "store">;
  readonly store: LedgerStore;
  readonly clock: HostClock;
  readonly scheduler: Scheduler;
  readonly chance: Chance;
  readonly faults: HostFaults;
  readonly judge: Judge;
  readonly tally: Tally;
  readonly trace: (line: () => string) => void;
}

const ALARM_RETRY_MS = 60_000;
const ALARM_LATE_MS_MAX = 7_200_000;
/** Few turns write more often, and a fault beyond a turn's last write does not strike. */
const WRITES_PER_TURN = 10;

export class Host {
  readonly #parts: HostParts;
  readonly #faulty: FaultyStore<LedgerStore>;
  #ledger: Ledger;
  #alarmAtMs: number | undefined;
  /** Only the ring of the latest setting counts. */
  #alarmSetting = 0;
  #steps = 0;
  #previous: Call | undefined;

  constructor(parts: HostParts) {
    this.#parts = parts;
    this.#faulty = faultyStore(parts.store);
    this.#ledger = this.#open();
  }

  get steps(): number {
    return this.#steps;
  }

  /** One delivery of a call. No reply where the process died or failed: the caller must ask again. */
  receive(call: Call, reply: (reply: AnyReply) => void): void {
    const { clock, judge, tally, chance, faults } = this.#parts;
    const hostMs = clock.read();
    if (chance.happens(faults.failsAsGroup)) {
      this.#failGroup(call, hostMs);
      return;
    }
    const kept = this.#attempt(() => perform(this.#ledger, call, { nowMs: hostMs }));
    if (kept === undefined) return;
    const answer = kept.result;
    const verdict = answer.ok ? `${answer.status}` : `${answer.status} ${answer.error}`;
    tally.add(`${call.op}: ${verdict}`);
    this.#parts.trace(
      () =>
        `${hostMs} ${call.op} ${shown(call)} → ${verdict} ${answer.ok ? shown(answer.body) : answer.message}`,
    );
    judge.answered(call, hostMs, answer);
    this.#previous = call;
    this.#keepAlarm();
    if (chance.happens(faults.diesBeforeReply)) {
      tally.add("fault: died between commit and reply");
      this.#restart();
      return;
    }
    reply(answer);
  }

  /** Ends the process between two turns, as an eviction does. */
  evict(): void {
    this.#parts.tally.add("fault: evicted");
    this.#steps += 1;
    this.#restart();
  }

  #open(): Ledger {
    return new Ledger({ ...this.#parts.ledger, store: this.#faulty.store });
  }

  #restart(): void {
    this.#parts.trace(() => "the process ends; a new one opens the store");
    this.#ledger = this.#open();
    this.#parts.judge.restarted();
    this.#parts.judge.checkDeadlines(this.#ledger);
  }

  /** Runs one turn, perhaps with a fault in its middle. `undefined` when it was rolled back. */
  #attempt<T>(turn: () => T): { readonly result: T } | undefined {
    const { chance, faults, judge, tally } = this.#parts;
    this.#steps += 1;
    if (chance.happens(faults.failsInTurn)) this.#faulty.arm(faultPoint(chance));
    try {
      return { result: turn() };
    } catch (error) {
      if (!(error instanceof InjectedFault)) throw error;
      const dies = chance.happens(0.5);
      tally.add(dies ? "fault: died in the middle of a turn" : "fault: failed in the middle of a turn");
      this.#parts.trace(() => "the turn fails and is rolled back");
      judge.rolledBack();
      if (dies) this.#restart();
      else judge.checkDeadlines(this.#ledger);
      return undefined;
    } finally {
      this.#faulty.disarm();
    }
  }

  /** Decides the call, and the one before it once more, in one transaction that then fails: neither has happened. */
  #failGroup(call: Call, hostMs: number): void {
    const { judge, store, tally, trace } = this.#parts;
    this.#steps += 1;
    tally.add("fault: a group's commit failed");
    trace(() => "a group is decided and rolled back");
    const group = this.#previous === undefined ? [call] : [call, this.#previous];
    try {
      store.transact(() => {
        for (const each of group) perform(this.#ledger, each, { nowMs: hostMs });
        throw new InjectedFault("the group's commit failed");
      });
    } catch (error) {
      if (!(error instanceof InjectedFault)) throw error;
    }
    judge.rolledBack();
    this.#restart();
  }

  /** After every kept turn, as the Durable Object does. */
  #keepAlarm(): void {
    const deadlineMs = this.#ledger.nextDeadlineMs;
    if (deadlineMs !== undefined && (this.#alarmAtMs === undefined || deadlineMs + 1 < this.#alarmAtMs)) {
      this.#setAlarmAt(deadlineMs + 1);
    }
    this.#parts.judge.checkDeadlines(this.#ledger);
    this.#parts.judge.checkAlarm(this.#alarmAtMs);
  }

  #setAlarmAt(timeMs: number): void {
    const { chance, clock, faults, scheduler, tally } = this.#parts;
    this.#alarmAtMs = timeMs;
    this.#alarmSetting += 1;
    const setting = this.#alarmSetting;
    const ring = (afterMs: number, isExtra: boolean): void =>
      scheduler.after(afterMs, () => {
        if (isExtra || setting === this.#alarmSetting) this.#ring();
      });
    let delayMs = Math.max(0, timeMs - clock.read());
    if (chance.happens(faults.alarmLate)) {
      tally.add("fault: alarm late");
      delayMs += chance.between(1, ALARM_LATE_MS_MAX);
    } else if (chance.happens(faults.alarmEarly)) {
      tally.add("fault: alarm early");
      ring(chance.between(0, delayMs), true);
    }
    if (chance.happens(faults.alarmTwice)) {
      tally.add("fault: alarm twice");
      ring(delayMs + chance.between(0, 5), true);
    }
    ring(delayMs, false);
  }

  #ring(): void {
    const { clock, judge, tally } = this.#parts;
    const hostMs = clock.read();
    this.#alarmAtMs = undefined;
    const kept = this.#attempt(() => this.#ledger.sweep({ nowMs: hostMs }));
    if (kept === undefined) {
      this.#setAlarmAt(hostMs + ALARM_RETRY_MS);
      return;
    }
    tally.add("alarm: swept");
    this.#parts.trace(() => `${hostMs} alarm → ${kept.result} expired`);
    judge.swept(hostMs);
    this.#keepAlarm();
  }
}

function faultPoint(chance: Chance): FaultPoint {
  const write = chance.between(1, WRITES_PER_TURN);
  if (write === WRITES_PER_TURN) return { write: "keep", when: "before" };
  return { write, when: chance.happens(0.5) ? "before" : "after" };
}
