// The process that holds one tenant's ledger, and dies: the store survives it, everything in memory does not. It keeps
// the alarm as the Durable Object does (at the earliest deadline, moved only earlier) and lets it ring late, early and
// twice, and it decides calls that arrive together as one group, by the object's own code. Invariant: every transaction, kept
// or rolled back, is one step and is judged; nobody is told of what was not kept. Who may call: the network, the schedule.

import { Ledger, type LedgerOptions, type LedgerStore, type Turn } from "purser/ledger";
import { decideTogether } from "../../worker/tenant/group-commit.ts";
import type { AnyReply } from "./calls.ts";
import type { Chance } from "./engine/chance.ts";
import { shown } from "./engine/difference.ts";
import { type FaultPoint, type FaultyStore, faultyStore, InjectedFault } from "./engine/faulty-store.ts";
import type { HostClock } from "./engine/host-clock.ts";
import type { Scheduler } from "./engine/scheduler.ts";
import type { Tally } from "./engine/tally.ts";

/** A call and its answer. */
export interface Answered<Call> {
  readonly call: Call;
  readonly reply: AnyReply;
}

/** A turn of its own that was rolled back, and where it failed. */
export interface UndoneTurn {
  readonly turn: (ledger: Ledger) => unknown;
  readonly fault: FaultPoint;
}

/** Who looks at every step, and throws at the first thing that is wrong. */
export interface HostJudge<Call> {
  /** These calls were answered in this order, and what they did is kept: one transaction, at one time. */
  answered(group: readonly Answered<Call>[], hostMs: number): void;
  /** A sweep ran to its end. */
  swept(hostMs: number): void;
  /** A turn threw. `undone` says how where the process may live on, and so remember that it was. */
  rolledBack(undone?: UndoneTurn): void;
  /** The process ended; what it had in memory is gone. */
  restarted(): void;
  checkDeadlines(ledger: Ledger): void;
  checkAlarm(alarmAtMs: number | undefined): void;
}

/** Probabilities per turn, and per alarm. */
export interface HostFaults {
  /** Dies after the turn was kept, before anyone is answered. */
  readonly diesBeforeReply: number;
  /** Dies or merely fails in the middle of a turn. */
  readonly failsInTurn: number;
  /** The commit that several turns share fails, once or for good, and with it all of them. */
  readonly failsAsGroup: number;
  /** A call waits for others, which are then decided with it. */
  readonly gathers: number;
  readonly alarmLate: number;
  readonly alarmEarly: number;
  readonly alarmTwice: number;
}

export interface HostParts<Call> {
  readonly ledger: Omit<LedgerOptions, "store">;
  readonly perform: (ledger: Ledger, call: Call, turn: Turn) => AnyReply;
  readonly store: LedgerStore;
  readonly clock: HostClock;
  readonly scheduler: Scheduler;
  readonly chance: Chance;
  readonly faults: HostFaults;
  readonly judge: HostJudge<Call>;
  readonly tally: Tally;
  readonly trace: (line: () => string) => void;
}

const ALARM_RETRY_MS = 60_000;
const ALARM_LATE_MS_MAX = 7_200_000;
/** Few turns write more often, and a fault beyond a turn's last write does not strike. */
const WRITES_PER_TURN = 10;
const GATHER_MS_MAX = 1_000;

/** A call in the line, and how its caller hears of it. */
interface Waiting<Call> {
  readonly call: Call;
  readonly reply: (reply: AnyReply) => void;
}

export class Host<Call extends { readonly op: string }> {
  readonly #parts: HostParts<Call>;
  #store: LedgerStore;
  #faulty: FaultyStore<LedgerStore>;
  #ledger: Ledger;
  #alarmAtMs: number | undefined;
  /** Only the ring of the latest setting counts. */
  #alarmSetting = 0;
  #steps = 0;
  #line: Waiting<Call>[] = [];

  constructor(parts: HostParts<Call>) {
    this.#parts = parts;
    this.#store = parts.store;
    this.#faulty = faultyStore(parts.store);
    this.#ledger = this.#open();
  }

  get steps(): number {
    return this.#steps;
  }

  /** One delivery of a call. No reply where the process died or failed: the caller must ask again. */
  receive(call: Call, reply: (reply: AnyReply) => void): void {
    const { chance, faults, scheduler } = this.#parts;
    this.#line.push({ call, reply });
    if (this.#line.length > 1) return;
    if (chance.happens(faults.gathers)) {
      scheduler.after(chance.between(0, GATHER_MS_MAX), () => this.#decideLine());
    } else this.#decideLine();
  }

  #decideLine(): void {
    const { chance, clock, tally } = this.#parts;
    const group = this.#line;
    this.#line = [];
    const [first] = group;
    if (first === undefined) return;
    tally.add(group.length > 1 ? "group: of several" : "group: of one");
    // Without a group around it, as the ledger in a caller's own process.
    if (group.length === 1 && chance.happens(0.5)) this.#decideAlone(first, clock.read());
    else this.#decideGroup(group, clock.read());
  }

  #decideAlone({ call, reply }: Waiting<Call>, hostMs: number): void {
    const kept = this.#attempt((ledger) => this.#parts.perform(ledger, call, { nowMs: hostMs }));
    if (kept === undefined) return;
    if (this.#keep([{ call, reply: kept.result }], hostMs)) reply(kept.result);
  }

  /**
   * As the object decides: all in one transaction, and if that fails call by call, on a ledger opened anew. One call may
   * be such that it always fails, the shared commit may fail once or for good, and the process may die in between.
   */
  #decideGroup(group: readonly Waiting<Call>[], hostMs: number): void {
    const { chance, faults, judge, tally, trace } = this.#parts;
    const cursed = chance.happens(faults.failsInTurn) ? chance.pick(group) : undefined;
    const point = faultPoint(chance);
    let commitsFailing = chance.happens(faults.failsAsGroup) ? chance.pick([1, Number.POSITIVE_INFINITY]) : 0;
    let isDead = false;
    let part: { waiting: Waiting<Call>; answered: Answered<Call> | undefined }[] = [];
    const answers = new Map<Waiting<Call>, AnyReply>();
    const failedAlone = new Set<Waiting<Call>>();
    const told = new Set<Waiting<Call>>();
    // The group's own code takes every throw for a failure, so what is wrong is kept aside.
    const wrongs: unknown[] = [];

    const transact = (decideAll: () => void): void => {
      if (isDead) throw new InjectedFault("the process has died");
      this.#steps += 1;
      part = [];
      try {
        this.#store.transact(() => {
          decideAll();
          commitsFailing -= 1;
          if (commitsFailing < 0) return;
          tally.add("fault: a group's commit failed");
          throw new InjectedFault("the group's commit failed");
        });
      } catch (error) {
        const [only] = part;
        if (part.length === 1 && only !== undefined) failedAlone.add(only.waiting);
        tally.add(part.length > 1 ? "fault: a group undone" : "fault: a group of one undone");
        trace(() => `${part.length} calls are decided and rolled back`);
        judge.rolledBack();
        isDead = chance.happens(0.3);
        this.#restart();
        throw error;
      }
      const kept = part.flatMap(({ answered }) => answered ?? []);
      isDead = !this.#keep(kept, hostMs);
      for (const { waiting, answered } of part)
        if (answered !== undefined) answers.set(waiting, answered.reply);
    };
    const members = group.map((waiting) => {
      const { call } = waiting;
      return {
        decide: () => {
          const own: (typeof part)[number] = { waiting, answered: undefined };
          part.push(own);
          if (waiting === cursed) this.#faulty.arm(point);
          try {
            own.answered = { call, reply: this.#parts.perform(this.#ledger, call, { nowMs: hostMs }) };
          } finally {
            this.#faulty.disarm();
          }
        },
        tell: () => {
          told.add(waiting);
          const answer = answers.get(waiting);
          if (answer === undefined) wrongs.push(new Error(`${call.op}: told before it was kept`));
          else if (!isDead) waiting.reply(answer);
        },
        fail: () => {
          told.add(waiting);
          if (!isDead && !failedAlone.has(waiting))
            wrongs.push(new Error(`${call.op}: failed for another's`));
        },
      };
    });
    const guarded = (decideAll: () => void): void => {
      try {
        transact(decideAll);
      } catch (error) {
        if (!(error instanceof InjectedFault)) wrongs.push(error);
        throw error;
      }
    };
    decideTogether(members, guarded);
    if (wrongs.length > 0) throw wrongs[0];
    if (told.size !== group.length) throw new Error(`${told.size} of ${group.length} callers were told`);
  }

  /** What a transaction did is kept and judged. False when the process dies before anyone is answered. */
  #keep(kept: readonly Answered<Call>[], hostMs: number): boolean {
    const { chance, faults, judge, tally, trace } = this.#parts;
    for (const { call, reply } of kept) {
      const verdict = reply.ok ? `${reply.status}` : `${reply.status} ${reply.error}`;
      tally.add(`${call.op}: ${verdict}`);
      trace(
        () =>
          `${hostMs} ${call.op} ${shown(call)} → ${verdict} ${reply.ok ? shown(reply.body) : reply.message}`,
      );
    }
    judge.answered(kept, hostMs);
    this.#keepAlarm();
    if (!chance.happens(faults.diesBeforeReply)) return true;
    tally.add("fault: died between commit and reply");
    this.#restart();
    return false;
  }

  /** Ends the process between two turns, as an eviction does. */
  evict(): void {
    this.#parts.tally.add("fault: evicted");
    this.#steps += 1;
    this.#line = [];
    this.#restart();
  }

  /** The store is lost, and another one stands in its place: the process begins anew over it. */
  restore(store: LedgerStore): void {
    this.#parts.tally.add("fault: restored from a backup");
    this.#steps += 1;
    this.#line = [];
    this.#store = store;
    this.#faulty = faultyStore(store);
    this.#restart();
    this.#keepAlarm();
  }

  #open(): Ledger {
    return new Ledger({ ...this.#parts.ledger, store: this.#faulty.store });
  }

  /** A new process, or a ledger that is opened anew after a group was undone: either remembers nothing. */
  #restart(): void {
    this.#parts.trace(() => "the store is opened anew");
    this.#ledger = this.#open();
    this.#parts.judge.restarted();
    this.#parts.judge.checkDeadlines(this.#ledger);
  }

  /** Runs one turn, perhaps with a fault in its middle. `undefined` when it was rolled back. */
  #attempt<T>(turn: (ledger: Ledger) => T): { readonly result: T } | undefined {
    const { chance, faults, judge, tally } = this.#parts;
    this.#steps += 1;
    const fault = chance.happens(faults.failsInTurn) ? faultPoint(chance) : undefined;
    if (fault !== undefined) this.#faulty.arm(fault);
    try {
      return { result: turn(this.#ledger) };
    } catch (error) {
      if (fault === undefined || !(error instanceof InjectedFault)) throw error;
      const dies = chance.happens(0.5);
      tally.add(dies ? "fault: died in the middle of a turn" : "fault: failed in the middle of a turn");
      this.#parts.trace(() => "the turn fails and is rolled back");
      judge.rolledBack({ turn, fault });
      if (dies) this.#restart();
      else judge.checkDeadlines(this.#ledger);
      return undefined;
    } finally {
      this.#faulty.disarm();
    }
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
    const kept = this.#attempt((ledger) => ledger.sweep({ nowMs: hostMs }));
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
