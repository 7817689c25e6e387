// A world for tests of recovery: the real rules in time that the test moves, a journal, and processes that can die at any
// moment: a dead one never hears of its calls again. What goes wrong with a commit or an event is said beforehand.

import {
  type AuthorityDenial,
  AuthorityError,
  type AuthorityOptions,
  type Journal,
  type JournalRecord,
  MemoryJournal,
  type RecoveryNotice,
  type ReservationGuard,
} from "purser/client";
import { LocalAuthority, LocalLedger } from "purser/ledger";
import type { CountingJournal } from "./counting-journal.ts";
import { TestTime } from "./test-time.ts";

export const tokens = (amount: number) => ({ unit: "TOKENS" as const, amount });
export const REQUEST = {
  action: { kind: "llm.completion", name: "model" },
  estimate: tokens(100),
  ttlMs: 60_000,
};

const lost = (message: string) =>
  new AuthorityError("AUTHORITY_UNAVAILABLE", message, { outcome: "unknown" });
export const refused = (
  code:
    | "FORBIDDEN"
    | "IDEMPOTENCY_MISMATCH"
    | "INVALID_REQUEST"
    | "NOT_FOUND"
    | "RESERVATION_EXPIRED"
    | "RESERVATION_FINALIZED"
    | "UNAUTHORIZED",
  status: number,
) => new AuthorityError(code, "no", { outcome: "refused", status });
export const throttled = (afterMs: number): { ok: false; denial: AuthorityDenial } => ({
  ok: false,
  denial: { code: "LIMIT_EXCEEDED", message: "slow down", retry: { afterMs } },
});

/** What becomes of a commit or an event: lost on the way or on the way back, never answered, or answered like this. */
export type Fault =
  | "lost request"
  | "lost reply"
  | "no answer"
  | Error
  | { ok: false; denial: AuthorityDenial };

/** `openJournal` opens the one journal of this world, once for each process. */
export function world(openJournal: () => Journal = sharedMemory()) {
  const time = new TestTime();
  const ledger = new LocalLedger({ tenant: "acme", now: () => time.nowMs });
  ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(1_000) });
  /** Everything that happens to journal and authority, in order. */
  const log: string[] = [];
  /** The commits and events that reached the way to the authority. */
  const requests: Record<string, unknown>[] = [];
  const faults: Fault[] = [];
  /** A process: dead, its calls reach nobody and are never answered. */
  function start(options: AuthorityOptions = {}) {
    let isDead = false;
    const journal = openJournal();
    /** Whatever a dead process does never comes to be. */
    const alive = <T>(work: () => T): T | Promise<never> => (isDead ? new Promise(() => undefined) : work());
    const logged: Journal = {
      put: (record) =>
        alive(() => {
          log.push(`put ${record.mode}`);
          return journal.put(record);
        }),
      remove: (partition, id) =>
        alive(() => {
          log.push("remove");
          return journal.remove(partition, id);
        }),
      list: () => alive(() => journal.list()),
      ...(journal.count && { count: (record) => (isDead ? undefined : journal.count?.(record)) }),
    };
    const notices: RecoveryNotice[] = [];
    const authority = new LocalAuthority({
      ledger,
      ...time.surroundings,
      random: () => 0.5,
      warn: () => undefined, // some guards are forgotten here, with the process that had them
      journal: logged,
      onRecovery: (notice) => void notices.push(notice),
      ...options,
    });
    for (const operation of ["commit", "recordEvent"] as const) {
      const call = authority[operation].bind(authority) as (...args: unknown[]) => Promise<unknown>;
      Reflect.set(authority, operation, async (...args: unknown[]) => {
        if (isDead) return new Promise(() => undefined);
        const request = args[operation === "commit" ? 1 : 0] as { idempotencyKey: string };
        requests.push({ operation, ...request });
        log.push(`${operation} ${request.idempotencyKey.replace(/-.*/, "")}`);
        const fault = faults.shift();
        if (fault === "lost request") throw lost(fault);
        if (fault === "no answer") return new Promise(() => undefined);
        if (fault instanceof Error) throw fault;
        if (typeof fault === "object") return fault;
        const answer = await call(...args);
        if (fault === "lost reply") throw lost(fault);
        return answer;
      });
    }
    const open = async (rest: object = {}): Promise<ReservationGuard> => {
      const guard = await authority.guard({ ...REQUEST, ...rest });
      if (!guard.ok) throw new Error(guard.denial.message);
      return guard;
    };
    const die = () => {
      isDead = true;
      if ("die" in journal) (journal as CountingJournal).die();
    };
    return { authority, notices, open, die };
  }
  const figures = () => {
    const reply = ledger.balances();
    const [row] = reply.ok ? reply.body.balances : [];
    return `${row?.spent?.amount} spent, ${row?.reserved?.amount} reserved`;
  };
  const records = async (): Promise<readonly JournalRecord[]> => (await openJournal().list()).records;
  return { time, ledger, log, requests, faults, start, figures, records };
}

function sharedMemory(): () => Journal {
  const journal = new MemoryJournal();
  return () => journal;
}
