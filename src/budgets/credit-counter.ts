// A shared budget whose threads spend from slices of their own (assembly/credit.ts): this thread's side of it.
// Invariant: the cell is the kernel's to give and to take away; this only remembers its number. Who may call: the budgets
// of this folder; arguments were checked before.

import { NO_CELL } from "../kernel/generated/abi.ts";
import * as Status from "../kernel/generated/Status.ts";
import type { AmountRange } from "./amount-range.ts";
import { KernelCounter } from "./kernel-counter.ts";

export class CreditCounter extends KernelCounter {
  /** 0 names no cell: the first operation joins. */
  #cell = 0;

  override take(amount: number): boolean {
    const status = this.#move(-amount);
    if (status === Status.Ok) return true;
    if (status === Status.Exceeds) return false;
    throw this.failure(status);
  }

  override fit({ want, min }: AmountRange): number | null {
    const { exports } = this.kernel;
    const answer = exports.creditFit(this.handle, min, want, this.#cell);
    if (!isCellLost(-answer)) return this.granted(answer);
    const cell = this.#join();
    return this.granted(cell < 0 ? cell : exports.creditFit(this.handle, min, want, cell));
  }

  override give(amount: number): void {
    this.expectOk(this.#move(amount));
  }

  #move(delta: number): number {
    const status = this.kernel.exports.creditMove(this.handle, delta, this.#cell);
    if (!isCellLost(status)) return status;
    const cell = this.#join();
    return cell < 0 ? -cell : this.kernel.exports.creditMove(this.handle, delta, cell);
  }

  /** @returns this thread's cell, NO_CELL or −status */
  #join(): number {
    const { kernel } = this;
    const cell = kernel.exports.creditJoin(this.handle, kernel.owner, kernel.nextTicket(), kernel.slotHint());
    if (cell >= 0) this.#cell = cell;
    // With every hold taken it decides on the budget's own word this time: slower, and just as exact.
    return cell === -Status.HoldsFull ? NO_CELL : cell;
  }
}

/** No cell yet, or no longer: the kernel was closed, which gave it back. */
function isCellLost(status: number): boolean {
  return status === Status.HandleInvalid || status === Status.NotHeld;
}
