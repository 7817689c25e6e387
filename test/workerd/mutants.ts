// Mutants of the Durable Object: what it does for calls that arrive together, broken one rule at a time by a change of
// text. The tests in workerd must catch each. Invariant: every `find` stands exactly once in its file.
// Who may call: vitest.config.ts applies the one that PURSER_MUTANT names; `npm run simulate -- --worker-mutants` runs all.

import type { Mutant } from "../simulation/mutants.ts";

const STORE = "worker/tenant/sqlite-store.ts";
const ACCOUNTS = "worker/tenant/account-store.ts";
const STATEMENTS = "worker/tenant/statements.ts";
const GROUP = "worker/tenant/group-commit.ts";
const HOST = "worker/tenant/tenant-host.ts";

export const WORKER_MUTANTS: readonly Mutant[] = [
  {
    name: "tenant-remembered-stale",
    rule: "a group sees the tenant as an earlier call of it left it",
    file: STORE,
    find: "this.change(\n      // A new row each time",
    replace: "this.exec(\n      // A new row each time",
  },
  {
    name: "key-remembered-stale",
    rule: "a group sees a key as an earlier call of it left it",
    file: STORE,
    find: "updateApiKey(key: ApiKeyRecord): void {\n    this.change(",
    replace: "updateApiKey(key: ApiKeyRecord): void {\n    this.exec(",
  },
  {
    name: "budget-remembered-stale",
    rule: "a group sees a budget's status and limit as an earlier call of it left them",
    file: ACCOUNTS,
    find: "rewriteAccount(account: AccountRecord): void {\n    this.change(",
    replace: "rewriteAccount(account: AccountRecord): void {\n    this.exec(",
  },
  {
    name: "new-budget-not-seen",
    rule: "a group sees a budget that an earlier call of it made",
    file: ACCOUNTS,
    find: "insertAccount(account: AccountRecord): void {\n    this.change(",
    replace: "insertAccount(account: AccountRecord): void {\n    this.exec(",
  },
  {
    name: "figures-never-written",
    rule: "what a group put off is written before it ends",
    file: STATEMENTS,
    find: "this.flush();\n        return result;",
    replace: "return result;",
  },
  {
    name: "figures-written-too-late",
    rule: "what a group put off is written before anything else changes the budget",
    file: STATEMENTS,
    find: "this.flush();\n    this.#known = undefined;",
    replace: "this.#known = undefined;",
  },
  {
    name: "figures-read-too-early",
    rule: "what a group put off is written before budgets are read from the database",
    file: ACCOUNTS,
    find: "unit: Unit | null = null): AccountRecord[] {\n    this.flush();",
    replace: "unit: Unit | null = null): AccountRecord[] {",
  },
  {
    name: "update-remembers-too-much",
    rule: "a group sees nothing of a budget that the database never gets",
    file: ACCOUNTS,
    find: "accounts.set(key, { ...known, ...updatedMembers(account) });",
    replace: "accounts.set(key, account);",
  },
  {
    name: "caught-throw-kept",
    rule: "a transaction in which a turn threw is undone, even if somebody caught it",
    file: STATEMENTS,
    find: "if (this.#failure !== undefined) throw this.#failure.error;",
    replace: "",
  },
  {
    name: "memory-outlives-transaction",
    rule: "what was remembered of a transaction ends with it",
    file: STATEMENTS,
    find: "this.#depth = 0;\n      this.#known = undefined;",
    replace: "this.#depth = 0;",
  },
  {
    name: "ledger-survives-undone-group",
    rule: "after a group that failed the ledger is opened anew",
    file: HOST,
    find: "} catch (error) {\n      this.#ledger = undefined;",
    replace: "} catch (error) {",
  },
  {
    name: "alarm-survives-undone-group",
    rule: "after a group that failed the alarm is set anew",
    file: HOST,
    find: "this.#ledger = undefined;\n      this.#alarmAtMs = undefined;",
    replace: "this.#ledger = undefined;",
  },
  {
    name: "rates-survive-undone-turn",
    rule: "a turn that was undone has not been counted",
    file: "src/ledger/core.ts",
    find: "      this.#rates = undefined;\n      throw error;",
    replace: "      throw error;",
  },
  {
    name: "nobody-waits",
    rule: "calls that arrive together share a transaction",
    file: HOST,
    find: "gather: () => scheduler.wait(0),",
    replace: "gather: () => Promise.resolve(),",
  },
  {
    name: "told-before-commit",
    rule: "nobody is told before the transaction has ended",
    file: GROUP,
    find: "for (const call of calls) call.decide();",
    replace: "for (const call of calls) {\n        call.decide();\n        call.tell();\n      }",
  },
  {
    name: "failure-told-to-all",
    rule: "a call that throws fails alone",
    file: GROUP,
    find: "if (calls.length > 1 && decided(calls, transact) === undefined) return;",
    replace:
      "if (calls.length > 1) {\n    const failure = decided(calls, transact);\n    if (failure !== undefined) for (const call of calls) call.fail(failure.error);\n    return;\n  }",
  },
  {
    name: "undone-group-told",
    rule: "a group that was undone is decided again before anyone is told",
    file: GROUP,
    find: "if (calls.length > 1 && decided(calls, transact) === undefined) return;",
    replace:
      "if (calls.length > 1) {\n    if (decided(calls, transact) !== undefined) for (const call of calls) call.tell();\n    return;\n  }",
  },
];
