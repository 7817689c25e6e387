// A budget in a kernel, shared by every thread that opens its name. The kernel decides; this is its adapter.
// Invariant: the handle belongs to one budget for good, and a reservation only names a hold of the kernel, which is the
// truth. Who may call: the budgets of this folder; arguments were checked before.

import { invalidType } from "../arguments.ts";
import { BudgetOverflowError } from "../errors.ts";
import * as Figure from "../kernel/generated/Figure.ts";
import * as Status from "../kernel/generated/Status.ts";
import { type Kernel, openIn } from "../kernel/kernel.ts";
import { tellSupplier } from "../kernel/supply.ts";
import type { AmountRange } from "./amount-range.ts";
import type { Counter } from "./counter.ts";
import type { BudgetOptions } from "./kernel-budget.ts";
import { reserveFit } from "./kernel-fit.ts";
import { TokenReservation } from "./token-reservation.ts";

export class KernelCounter implements Counter {
  readonly kernel: Kernel;
  readonly handle: number;
  readonly #name: string;

  /** One function for all reservations. */
  readonly #refund = (reservation: TokenReservation): void => {
    this.settle(reservation, 0);
  };

  /** @param open - opens the budget of that name in a kernel, or creates it there */
  constructor(options: BudgetOptions, open: (kernel: Kernel, name: string) => number) {
    const { kernel, handle } = openIn(options, open);
    this.kernel = kernel;
    this.handle = handle;
    this.#name = options.name ?? "";
    // Every reservation reaches this object, so an open one keeps the budget's slot.
    if (options.name === undefined) kernel.removeWhenUnreachable(this, handle);
  }

  take(amount: number): boolean {
    const status = this.kernel.exports.counterTake(this.handle, amount);
    if (status === Status.Ok) return true;
    if (status === Status.Exceeds) return false;
    throw this.failure(status);
  }

  fit({ want, min }: AmountRange): number | null {
    return this.granted(this.kernel.exports.counterFit(this.handle, min, want));
  }

  give(amount: number): void {
    this.expectOk(this.kernel.exports.counterGive(this.handle, amount));
  }

  reserve(estimate: number, expiresAtMs: number): TokenReservation | null {
    const { kernel } = this;
    const { owner } = kernel;
    const ticket = kernel.nextTicket();
    const hint = kernel.slotHint();
    const slot = kernel.exports.holdReserve(this.handle, estimate, owner, ticket, expiresAtMs, hint);
    if (slot >= 0) return new TokenReservation(estimate, this.#refund, this, ticket, slot, owner);
    kernel.slotFreed(hint);
    this.granted(slot);
    return null;
  }

  reserveFit(range: AmountRange, expiresAtMs: number): TokenReservation | null {
    const { kernel } = this;
    const taken = reserveFit(kernel, this.handle, range, expiresAtMs);
    if (!("status" in taken)) return this.adopt(taken.amount, taken.ticket, taken.slot, kernel.owner);
    this.granted(-taken.status);
    return null;
  }

  /** A reservation of this budget that was made through another object, in another thread. */
  adopt(estimate: number, ticket: number, slot: number, owner: number): TokenReservation {
    return new TokenReservation(estimate, this.#refund, this, ticket, slot, owner);
  }

  owns({ counter }: TokenReservation): boolean {
    if (counter === this) return true;
    return (
      counter instanceof KernelCounter &&
      counter.handle === this.handle &&
      counter.kernel.memory === this.kernel.memory
    );
  }

  settle(reservation: TokenReservation, actual: number): number {
    const { kernel } = this;
    const { slot, owner, ticket } = reservation;
    const status = kernel.settle(this.handle, slot, owner, ticket, actual);
    if (status === Status.Overflow) return status;
    // An adopted ticket may name the hold of another budget, or no hold at all.
    if (status === Status.ForeignHold || status === Status.HandleInvalid) {
      throw invalidType("reservation", "a TokenReservation of this budget", reservation);
    }
    reservation.settled();
    if (status === Status.Ok) {
      kernel.slotFreed(slot);
      return status;
    }
    if (status === Status.NotHeld || status === Status.Stale) return Status.NotHeld;
    throw this.failure(status);
  }

  expire(nowMs: number): number {
    this.figure(Figure.Epoch); // a removed budget says so
    return this.kernel.expire(nowMs);
  }

  grant(amount: number): void {
    const status = this.kernel.exports.counterGrant(this.handle, amount);
    if (status === Status.Overflow) throw new BudgetOverflowError("the capacity");
    this.expectOk(status);
  }

  refill(): void {
    this.expectOk(this.kernel.exports.counterRefill(this.handle));
  }

  remove(): void {
    this.expectOk(this.kernel.removeBudget(this.handle));
  }

  figure(figure: number): number {
    return this.#counted(this.kernel.exports.budgetFigure(this.handle, figure));
  }

  held(): number {
    return this.#counted(this.kernel.exports.heldAmount(this.handle));
  }

  open(): number {
    return this.#counted(this.kernel.exports.heldCount(this.handle));
  }

  /** What the kernel granted, which is an amount or −status. Whoever supplies the budget hears of a refusal. */
  protected granted(answer: number): number | null {
    if (answer >= 0) return answer;
    if (answer !== -Status.Exceeds && answer !== -Status.InDebt) throw this.failure(-answer);
    tellSupplier(this.kernel, this.handle);
    return null;
  }

  #counted(value: number): number {
    if (value < 0) throw this.failure(-value);
    return value;
  }

  protected expectOk(status: number): void {
    if (status !== Status.Ok) throw this.failure(status);
  }

  protected failure(status: number): Error {
    return this.kernel.failure(status, this.#name === "" ? "this budget" : `budget "${this.#name}"`);
  }
}
