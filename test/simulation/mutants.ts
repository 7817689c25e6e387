// Mutants: rules of the ledger broken one at a time, by a change of text in one source. The simulation must catch each;
// one that it does not catch is a hole in the simulation. Invariant: every `find` stands exactly once in its file.
// Who may call: scripts/lib/mutant-build.ts applies them, tests and `npm run simulate -- --mutants` run them.

export interface Mutant {
  readonly name: string;
  /** The rule that is broken, as a sentence. */
  readonly rule: string;
  /** From the project's root; below assembly/ the arithmetic is compiled anew. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: "replay-not-checked",
    rule: "a commit with the same key gets its first answer",
    file: "src/ledger/settle.ts",
    find: 'const earlier = located.reservation.status === "COMMITTED" ? located.reservation.settled : undefined;',
    replace: "const earlier = undefined as Answer | undefined;",
  },
  {
    name: "fingerprint-ignored",
    rule: "the same key with another body is a mismatch",
    file: "src/ledger/answers.ts",
    find: "return earlier.fingerprint === print ?",
    replace: "return earlier.fingerprint.length === print.length ?",
  },
  {
    name: "grace-forgotten",
    rule: "a reservation can be settled until its grace is over",
    file: "src/ledger/hold-book.ts",
    find: "deadlineMs: expiresAtMs + gracePeriodMs };",
    replace: "deadlineMs: expiresAtMs + 0 * gracePeriodMs };",
  },
  {
    name: "expiry-a-moment-early",
    rule: "a reservation expires strictly after its deadline",
    file: "src/ledger/hold-book.ts",
    find: "first.deadlineMs < nowMs;",
    replace: "first.deadlineMs <= nowMs;",
  },
  {
    name: "extend-in-grace",
    rule: "a reservation can be extended only until it expires",
    file: "src/ledger/settle.ts",
    find: "if (nowMs > reservation.expiresAtMs) return expired(reservation);",
    replace: "",
  },
  {
    name: "extend-unbounded",
    rule: "an extension reaches at most the tenant's longest life from now",
    file: "src/ledger/settle.ts",
    find: "Math.min(reservation.expiresAtMs + request.extend_by_ms, latestMs)",
    replace: "Math.max(reservation.expiresAtMs + request.extend_by_ms, 0 * latestMs)",
  },
  {
    name: "extend-forgets-deadline",
    rule: "an extended reservation has its new deadline",
    file: "src/ledger/settle.ts",
    find: "core.deadlines.set(deadlineOf(extended));",
    replace: "",
  },
  {
    name: "scope-skipped-on-release",
    rule: "a release gives back on every budget of the path",
    file: "src/ledger/settle.ts",
    find: "const written = core.writeFigures(accounts, core.releasePath(accounts, reservation.amount), nowMs);",
    replace:
      "const figures = core.releasePath(accounts, reservation.amount);\n    accounts.length = 1;\n    const written = core.writeFigures(accounts, figures, nowMs);",
  },
  {
    name: "budgeted-set-recomputed",
    rule: "the budgets of a reservation are fixed when it is made",
    file: "src/ledger/account-book.ts",
    find: "const accounts = this.readAccounts(hold.scopes, hold.unit, nowMs);\n    if (accounts.length !== hold.scopes.length)",
    replace:
      'const path = hold.scopes[hold.scopes.length - 1]?.split("/") ?? [];\n    const accounts = this.readAccounts(path.map((_, n) => path.slice(0, n + 1).join("/")), hold.unit, nowMs);\n    if (accounts.length < hold.scopes.length)',
  },
  {
    name: "expiry-not-settled-first",
    rule: "what has expired is given back before a decision",
    file: "src/ledger/evaluation.ts",
    find: "const { unfinished } = core.settleDue(nowMs, accountsOn(unit, [...scopes, ...caps]));",
    replace: "const unfinished = void accountsOn;",
  },
  {
    name: "expiry-settled-twice",
    rule: "an expired reservation is given back once",
    file: "src/ledger/hold-book.ts",
    find: "this.writeFigures(accounts, this.releasePath(accounts, reservation.amount), nowMs);",
    replace:
      "this.writeFigures(accounts, this.releasePath(accounts, reservation.amount), nowMs);\n    if (accounts.every((account) => account.reserved >= 2n * reservation.amount))\n      this.writeFigures(accounts, this.releasePath(accounts, 2n * reservation.amount), nowMs);",
  },
  {
    name: "clock-goes-back",
    rule: "the ledger's time does not go back with the host's",
    file: "src/ledger/core.ts",
    find: "wasWrong ? turn.nowMs : Math.max(seenMs, turn.nowMs)",
    replace: "turn.nowMs",
  },
  {
    name: "wrong-clock-outlived",
    rule: "after a clock that ran ahead, holds end within the longest life from now",
    file: "src/ledger/core.ts",
    find: "if (wasWrong) this.shortenLives(nowMs);",
    replace: "",
  },
  {
    name: "deadlines-survive-rollback",
    rule: "what is remembered of a turn that failed is forgotten",
    file: "src/ledger/core.ts",
    find: "} catch (error) {\n      this.forgetHolds();",
    replace: "} catch (error) {",
  },
  {
    name: "transaction-not-rolled-back",
    rule: "a turn that fails leaves nothing in the store",
    file: "src/ledger/memory-rows.ts",
    find: "while (undos.length > 0) undos.pop()?.();",
    replace: "",
  },
  {
    name: "inner-turn-not-rolled-back",
    rule: "a turn inside a group goes down with the group",
    file: "src/ledger/memory-rows.ts",
    find: "return this.#undos === undefined ? this.#outermost(decide) : this.#inner(decide);",
    replace: "return this.#outermost(decide);",
  },
  {
    name: "dry-run-takes",
    rule: "a dry run takes nothing",
    file: "src/ledger/reserve.ts",
    find: "...balancesMember(evaluation.accounts, core.arithmetic),\n    };\n  } else {",
    replace:
      "...balancesMember(core.writeFigures(evaluation.accounts, evaluation.figures, nowMs), core.arithmetic),\n    };\n  } else {",
  },
  {
    name: "replayed-time-stands-still",
    rule: "a replayed reserve says how much time is left now",
    file: "src/ledger/reserve.ts",
    find: "answer.active ? Math.max(0, body.expires_at_ms - nowMs) : 0",
    replace: "answer.active ? (body.remaining_ttl_ms ?? 0) : 0",
  },
  {
    name: "ttl-not-capped",
    rule: "no reservation is made for longer than the tenant's longest life",
    file: "src/ledger/reserve.ts",
    find: "    governance.ttl.maxMs ?? tenant.maxReservationTtlMs,\n    tenant.maxReservationTtlMs,\n",
    replace: "",
  },
  {
    name: "fund-not-idempotent",
    rule: "funding with the same key happens once",
    file: "src/ledger/admin-funding.ts",
    find: "core.store.insertAnswer(namespace, lastDay, answerOf(request.idempotency_key, print, body));",
    replace: "void answerOf;",
  },
  {
    name: "frozen-takes-reserves",
    rule: "a frozen budget takes no reservation and no event",
    file: "assembly/account.ts",
    find: "if (load<u32>(at(i) + STATE) == AccountState.Frozen) return refuse(Status.Frozen, i);",
    replace: "",
  },
  {
    name: "suspended-reserves",
    rule: "a suspended tenant makes no reservation",
    file: "src/ledger/evaluation.ts",
    find: 'if (tenant.status === "SUSPENDED") return { ok: false, refusal: unauthorized("TENANT_SUSPENDED") };',
    replace: "void unauthorized;",
  },
  {
    name: "closing-forgets-holds",
    rule: "closing a tenant releases what is held",
    file: "src/ledger/admin-close.ts",
    find: "core.deadlines.delete(reservation.id);",
    replace: "",
  },
  {
    name: "limit-patch-keeps-mark",
    rule: "a new overdraft limit lifts the mark of a capped charge",
    file: "src/ledger/admin-budgets.ts",
    find: "overLimitMark: limit === undefined && account.overLimitMark,",
    replace: "overLimitMark: account.overLimitMark,",
  },
  {
    name: "change-without-audit",
    rule: "every change that an operator makes is one row of the audit log",
    file: "src/ledger/admin-budgets.ts",
    find: "recordBudget(core, turn, account, nowMs, changed.entry);",
    replace: "",
  },
  {
    name: "event-not-idempotent",
    rule: "an event is charged once per key",
    file: "src/ledger/event.ts",
    find: 'const earlier = findAnswer(core, "event", key, nowMs);',
    replace: 'const earlier = findAnswer(core, "decide", key, nowMs);',
  },
  {
    name: "debt-does-not-block",
    rule: "debt on a budget that may not owe blocks reservations; over its limit, it blocks as well",
    file: "assembly/account.ts",
    find: "if (overLimit(at(i))) return refuse(Status.OverLimit, i);",
    replace: "if (false) return refuse(Status.OverLimit, i);",
  },
  {
    name: "overdraft-check-dropped",
    rule: "no commit makes more debt than the overdraft limit",
    file: "assembly/account.ts",
    find: "if (deficit > limit - read(account, DEBT)) return refuse(Status.OverdraftLimitExceeded, i);",
    replace: "",
  },
  {
    name: "mark-not-cleared",
    rule: "funding lifts the mark of a capped charge",
    file: "assembly/account.ts",
    find: "store<u32>(account + MARK, 0); // an operator looked at it: the mark of a capped charge is lifted",
    replace: "",
  },
  {
    name: "everyone-marked",
    rule: "only budgets that could not cover the charge are marked",
    file: "assembly/account.ts",
    find: "if (charge < beyond && remaining < beyond && !mayOwe) {",
    replace: "if (charge < beyond && !mayOwe) {",
  },
  {
    name: "remaining-unbounded",
    rule: "remaining never leaves int64",
    file: "assembly/account.ts",
    find: "if (afterSpent < 0 && reserved >= afterSpent - i64.MIN_VALUE) return false;",
    replace: "",
  },
  {
    name: "last-scope-not-checked",
    rule: "every budget of the path must have what is reserved",
    file: "assembly/account.ts",
    find: "if (remainingOf(at(i)) < amount) return refuse(Status.ExceedsAvailable, i);",
    replace: "if (i + 1 < count && remainingOf(at(i)) < amount) return refuse(Status.ExceedsAvailable, i);",
  },
  {
    name: "group-told-before-commit",
    rule: "nobody is told before the transaction has ended",
    file: "worker/tenant/group-commit.ts",
    find: "for (const call of calls) call.decide();",
    replace: "for (const call of calls) {\n        call.decide();\n        call.tell();\n      }",
  },
  {
    name: "group-failure-told-to-all",
    rule: "a call that throws fails alone",
    file: "worker/tenant/group-commit.ts",
    find: "if (calls.length > 1 && decided(calls, transact) === undefined) return;",
    replace:
      "if (calls.length > 1) {\n    const failure = decided(calls, transact);\n    if (failure !== undefined) for (const call of calls) call.fail(failure.error);\n    return;\n  }",
  },
  {
    name: "group-told-after-failure",
    rule: "a group that was undone is decided again before anyone is told",
    file: "worker/tenant/group-commit.ts",
    find: "return { error };",
    replace: "if (calls.length === 1) return { error };",
  },
  {
    name: "policy-overage-ignored",
    rule: "a policy's overage policy comes before the budget's",
    file: "src/ledger/reserve.ts",
    find: "    governance.commitOveragePolicy ??\n",
    replace: "",
  },
  {
    name: "policy-life-ignored",
    rule: "no reservation is made for longer than its policies allow",
    file: "src/ledger/reserve.ts",
    find: "    governance.ttl.maxMs ?? tenant.maxReservationTtlMs,\n",
    replace: "",
  },
  {
    name: "policy-life-ends-at-reserve",
    rule: "an extension reaches no further than the policies of that moment allow",
    file: "src/ledger/settle.ts",
    find: "Math.min(ttl.maxMs ?? tenant.maxReservationTtlMs, tenant.maxReservationTtlMs)",
    replace: "tenant.maxReservationTtlMs + 0 * (ttl.maxMs ?? 0)",
  },
  {
    name: "lower-priority-fills-in",
    rule: "of the policies that fit, the highest priority alone counts",
    file: "src/ledger/policies.ts",
    find: "matches.filter(({ policy }) => policy.priority === priority)",
    replace: "matches.filter(({ policy }) => policy.priority <= priority)",
  },
  {
    name: "disabled-policy-counts",
    rule: "a policy that is disabled says nothing",
    file: "src/ledger/policies.ts",
    find: 'status === "ACTIVE" &&',
    replace: "status !== undefined &&",
  },
  {
    name: "rates-survive-undone-turn",
    rule: "a call that was undone has not been counted",
    file: "src/ledger/core.ts",
    find: "      this.#rates = undefined;\n      throw error;",
    replace: "      throw error;",
  },
  {
    name: "rates-lost-with-memory",
    rule: "a minute's count outlives the process",
    file: "src/ledger/rates.ts",
    find: "row.minute >= minute ? row.granted : 0",
    replace: "row.minute >= minute ? 0 * row.granted : 0",
  },
  {
    name: "commits-not-counted",
    rule: "commits have a rate of their own",
    file: "src/ledger/settle.ts",
    find: "    core.rates.count(commits, nowMs);\n",
    replace: "",
  },
  {
    name: "older-minute-has-room",
    rule: "a minute before the newest that was counted gets nothing more",
    file: "src/ledger/rates.ts",
    find: "counter.minute > minute || ",
    replace: "",
  },
];
