// Every error that this library throws, each with a stable `code`. Callers compare codes, not classes: classes do not
// survive RPC or a second copy of the library on the page. Denials are not errors; they are answers (denial.ts).

import type { Denial } from "./denial.ts";

/** Base of the library's own errors. Bad arguments throw RangeError or TypeError instead, with `ARGUMENT_INVALID`. */
export class PurserError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Every slot of the kernel is taken. `option` is the option of `createKernel` to raise. */
export class KernelFullError extends PurserError {
  readonly option: "budgets" | "holds" | "threads";

  constructor(option: "budgets" | "holds" | "threads", capacity: number) {
    const advice =
      option === "threads"
        ? "close and re-create the kernel: thread ids are never reused"
        : `raise createKernel({ ${option} }), or settle and remove what is not used`;
    super("KERNEL_FULL", `the kernel is full: all ${capacity} ${option} are taken; ${advice}`);
    this.option = option;
  }
}

/** The memory cannot serve as a kernel's memory, or not as this one. */
export class KernelMemoryError extends PurserError {
  constructor(message: string) {
    super("KERNEL_MEMORY", message);
  }
}

/** Another thread stands in the way, in the directory or adjusting a reservation, and does not go on. Nothing changed. */
export class KernelBusyError extends PurserError {
  /** The owner id of the thread inside the directory, which `kernel.reclaim(owner)` frees if it was terminated; 0: none. */
  readonly owner: number;

  constructor(owner: number) {
    super(
      "KERNEL_BUSY",
      owner === 0
        ? "another thread adjusts this reservation; if it was terminated, reclaim it"
        : `thread ${owner} is in the kernel's directory; if it was terminated, reclaim it`,
    );
    this.owner = owner;
  }
}

/** A budget of that name exists, and is another one than was asked for. */
export class BudgetMismatchError extends PurserError {
  constructor(message: string) {
    super("BUDGET_MISMATCH", message);
  }
}

/** The budget was removed, by this thread or another. */
export class BudgetRemovedError extends PurserError {
  constructor() {
    super("BUDGET_REMOVED", "the budget was removed from its kernel; open it anew");
  }
}

/** A figure would leave 0 … 2^53−1. Nothing was changed. */
export class BudgetOverflowError extends PurserError {
  constructor(what: string) {
    super("BUDGET_OVERFLOW", `${what} would exceed 9007199254740991; nothing was changed`);
  }
}

/** The reservation was settled, cancelled, expired or reclaimed before. Nothing was changed. */
export class ReservationSettledError extends PurserError {
  constructor() {
    super("RESERVATION_SETTLED", "the reservation is already settled; nothing was changed");
  }
}

/** What a scoped form rejects with when the budget says no. `denial` says why and what to do. */
export class BudgetDeniedError extends PurserError {
  readonly denial: Denial;

  constructor(denial: Denial) {
    super(
      "BUDGET_DENIED",
      `denied (${denial.code}): ${denial.requested} asked for, ${denial.available} available`,
    );
    this.denial = denial;
  }
}
