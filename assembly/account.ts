// Exact int64 arithmetic over a path of accounts: the figures of the authority, from the tenant down to the deepest
// budgeted scope. All or nothing: every function decides over the whole path first and writes only if all agree.
//
// Invariant: remaining = allocated − spent − reserved − debt, within int64; remaining is never stored.
// Who may call: one caller at a time, through accounts.ts. The frame is the scratch memory of an instance of its own (the
// ledger loads a path, runs one operation and reads it back); none of this is shared between threads.
// Source: Cycles protocol v0.1.25, overage policies, and the funding operations of its governance part.

import { Account, AccountState, FRAME_ACCOUNTS, Fund, Overage } from "./abi";
import { isIntegerIn } from "./layout";
import { Status } from "./status";

/** The frame begins where the memory begins: up to twelve accounts, then the results. */
const FRAME: u32 = 0;
const ACCOUNT_BYTES: u32 = 64;
const FRAME_RESULTS: u32 = FRAME + FRAME_ACCOUNTS * ACCOUNT_BYTES;

//  account   +0 allocated   +8 spent   +16 reserved   +24 debt   +32 overdraft limit   +40 u32 over-limit mark
//            +44 u32 state
//  results   +0 charged   +8 u32 index of the account that refused
const ALLOCATED: u32 = 0;
const SPENT: u32 = 8;
const RESERVED: u32 = 16;
const DEBT: u32 = 24;
const OVERDRAFT_LIMIT: u32 = 32;
const MARK: u32 = 40;
const STATE: u32 = 44;

// @ts-ignore: decorator
@inline
function at(index: u32): u32 {
  return FRAME + index * ACCOUNT_BYTES;
}

// @ts-ignore: decorator
@inline
function read(account: u32, field: u32): i64 {
  return load<i64>(account + field);
}

// @ts-ignore: decorator
@inline
function write(account: u32, field: u32, value: i64): void {
  store<i64>(account + field, value);
}

// @ts-ignore: decorator
@inline
function remainingOf(account: u32): i64 {
  return read(account, ALLOCATED) - read(account, SPENT) - read(account, RESERVED) - read(account, DEBT);
}

/** What may still be drawn: remaining, or 0 below zero. */
// @ts-ignore: decorator
@inline
function availableOf(account: u32): i64 {
  return max<i64>(remainingOf(account), 0);
}

// @ts-ignore: decorator
@inline
function overdraftLimitOf(account: u32): i64 {
  return read(account, OVERDRAFT_LIMIT);
}

/** With a limit of 0 debt alone is not "over limit": it is what DebtOutstanding answers. */
function overLimit(account: u32): bool {
  const limit = overdraftLimitOf(account);
  return load<u32>(account + MARK) != 0 || (limit > 0 && read(account, DEBT) > limit);
}

function refuse(status: Status, index: u32): Status {
  store<u32>(FRAME_RESULTS + 8, index);
  return status;
}

/** True if the figures are non-negative and remaining stays above i64.MIN_VALUE, which stands for "no such figure". */
function representable(allocated: i64, spent: i64, reserved: i64, debt: i64): bool {
  if (allocated < 0 || spent < 0 || reserved < 0 || debt < 0) return false;
  const afterSpent = allocated - spent; // cannot leave int64: both are ≥ 0
  if (afterSpent < 0 && reserved >= afterSpent - i64.MIN_VALUE) return false;
  const afterReserved = afterSpent - reserved;
  if (afterReserved < 0 && debt >= afterReserved - i64.MIN_VALUE) return false;
  return true;
}

/** Loads one account of the path. */
export function accountPut(
  index: f64,
  allocated: i64,
  spent: i64,
  reserved: i64,
  debt: i64,
  overdraftLimit: i64,
  mark: f64,
  state: f64,
): i32 {
  if (!isIntegerIn(index, 0, <f64>FRAME_ACCOUNTS - 1)) return Status.ArgumentInvalid;
  if (!isIntegerIn(mark, 0, 1) || !isIntegerIn(state, 0, <f64>AccountState.Closed)) return Status.ArgumentInvalid;
  if (overdraftLimit < 0 || !representable(allocated, spent, reserved, debt)) return Status.AmountInvalid;
  const account = at(<u32>index);
  write(account, ALLOCATED, allocated);
  write(account, SPENT, spent);
  write(account, RESERVED, reserved);
  write(account, DEBT, debt);
  write(account, OVERDRAFT_LIMIT, overdraftLimit);
  store<u32>(account + MARK, <u32>mark);
  store<u32>(account + STATE, <u32>state);
  return Status.Ok;
}

/** One figure of a loaded account; i64.MIN_VALUE, which no figure is, for an account or a figure that does not exist. */
export function accountFigure(index: f64, figure: f64): i64 {
  if (!isIntegerIn(index, 0, <f64>FRAME_ACCOUNTS - 1)) return i64.MIN_VALUE;
  if (!isIntegerIn(figure, 0, <f64>Account.OverLimit)) return i64.MIN_VALUE;
  const account = at(<u32>index);
  const which = <u32>figure;
  if (which <= <u32>Account.Debt) return load<i64>(account + (which << 3)); // these stand in the order of the enumeration
  if (which == <u32>Account.Remaining) return remainingOf(account);
  return which == <u32>Account.Mark ? <i64>load<u32>(account + MARK) : <i64>overLimit(account);
}

/** What the last commit or event charged to every account of the path. */
export function pathCharged(): i64 {
  return load<i64>(FRAME_RESULTS);
}

/** Position of the account that made the last operation refuse. */
export function pathIndex(): i32 {
  return load<i32>(FRAME_RESULTS + 8);
}

/** Takes `amount` out of every account. Each reason is looked for on the whole path before the next one. */
export function pathReserve(accounts: f64, amount: i64): i32 {
  if (!isPath(accounts)) return Status.ArgumentInvalid;
  const count = <u32>accounts;
  if (amount < 0) return Status.AmountInvalid;
  for (let i: u32 = 0; i < count; i++) if (overLimit(at(i))) return refuse(Status.OverLimit, i);
  const state = closedOrFrozen(count);
  if (state != Status.Ok) return state;
  for (let i: u32 = 0; i < count; i++) {
    if (read(at(i), DEBT) > 0 && overdraftLimitOf(at(i)) == 0) return refuse(Status.DebtOutstanding, i);
  }
  for (let i: u32 = 0; i < count; i++) {
    if (remainingOf(at(i)) < amount) return refuse(Status.ExceedsAvailable, i);
  }
  // remaining ≥ amount bounds the sum: reserved + amount ≤ allocated.
  for (let i: u32 = 0; i < count; i++) write(at(i), RESERVED, read(at(i), RESERVED) + amount);
  return Status.Ok;
}

/** Gives a reservation of `estimate` back to every account: a release or an expiry. */
export function pathRelease(accounts: f64, estimate: i64): i32 {
  if (!isPath(accounts)) return Status.ArgumentInvalid;
  const count = <u32>accounts;
  const status = checkReserved(count, estimate);
  if (status != Status.Ok) return status;
  for (let i: u32 = 0; i < count; i++) write(at(i), RESERVED, read(at(i), RESERVED) - estimate);
  return Status.Ok;
}

/** Settles a reservation of `estimate` with what was really spent. */
export function pathCommit(accounts: f64, estimate: i64, actual: i64, overage: f64): i32 {
  if (!isPath(accounts) || !isIntegerIn(overage, 0, <f64>Overage.Owe)) return Status.ArgumentInvalid;
  if (actual < 0) return Status.AmountInvalid;
  const count = <u32>accounts;
  const status = checkReserved(count, estimate);
  if (status != Status.Ok) return status;
  if (actual <= estimate) return book(count, estimate, actual, 0, 0, false);
  if (overage == <f64>Overage.Reject) return refuse(Status.ExceedsAvailable, 0);
  if (overage == <f64>Overage.Owe) return book(count, estimate, estimate, actual - estimate, actual - estimate, true);
  return settleBeyond(count, estimate, actual - estimate, overage == <f64>Overage.AllowWithOverdraft);
}

/**
 * Gives back what was charged too much. It repays debt first; what an operator has reset meanwhile is not there to be
 * given back, so spent ends at 0.
 */
export function pathRefund(accounts: f64, amount: i64): i32 {
  if (!isPath(accounts)) return Status.ArgumentInvalid;
  if (amount < 0) return Status.AmountInvalid;
  const count = <u32>accounts;
  for (let i: u32 = 0; i < count; i++) {
    const account = at(i);
    const repaid = min<i64>(read(account, DEBT), amount);
    write(account, DEBT, read(account, DEBT) - repaid);
    write(account, SPENT, max<i64>(read(account, SPENT) - (amount - repaid), 0));
  }
  return Status.Ok;
}

/** Charges usage that no reservation stands for. */
export function pathEvent(accounts: f64, actual: i64, overage: f64): i32 {
  if (!isPath(accounts) || !isIntegerIn(overage, 0, <f64>Overage.AllowWithOverdraft)) return Status.ArgumentInvalid;
  const count = <u32>accounts;
  if (actual < 0) return Status.AmountInvalid;
  const state = closedOrFrozen(count);
  if (state != Status.Ok) return state;
  if (overage == <f64>Overage.Reject) {
    for (let i: u32 = 0; i < count; i++) {
      if (remainingOf(at(i)) < actual) return refuse(Status.ExceedsAvailable, i);
    }
    return book(count, 0, 0, actual, actual, false);
  }
  return settleBeyond(count, 0, actual, overage == <f64>Overage.AllowWithOverdraft);
}

/** Runs one funding operation on the first account of the frame. `spent` is read by ResetSpent alone. */
export function accountFund(operation: f64, amount: i64, spent: i64): i32 {
  if (!isIntegerIn(operation, 0, <f64>Fund.RepayDebt)) return Status.ArgumentInvalid;
  if (amount < 0 || spent < 0) return Status.AmountInvalid;
  const account = at(0);
  let allocated = read(account, ALLOCATED);
  let newSpent = read(account, SPENT);
  let debt = read(account, DEBT);
  const reserved = read(account, RESERVED);
  if (operation == <f64>Fund.Debit) {
    if (remainingOf(account) < amount) return refuse(Status.ExceedsAvailable, 0);
    allocated -= amount; // remaining ≤ allocated, so this stays ≥ 0
  } else if (operation == <f64>Fund.Reset) {
    allocated = amount;
  } else if (operation == <f64>Fund.ResetSpent) {
    allocated = amount;
    newSpent = spent;
  } else {
    const repaid = operation == <f64>Fund.RepayDebt ? min<i64>(debt, amount) : 0;
    const credit = amount - repaid;
    if (credit > i64.MAX_VALUE - allocated) return refuse(Status.Overflow, 0);
    debt -= repaid;
    allocated += credit;
  }
  if (!representable(allocated, newSpent, reserved, debt)) return refuse(Status.Overflow, 0);
  write(account, ALLOCATED, allocated);
  write(account, SPENT, newSpent);
  write(account, DEBT, debt);
  store<u32>(account + MARK, 0); // an operator looked at it: the mark of a capped charge is lifted
  return Status.Ok;
}

/** Events and reservations need every account of the path open. */
function closedOrFrozen(count: u32): i32 {
  for (let i: u32 = 0; i < count; i++) {
    if (load<u32>(at(i) + STATE) == AccountState.Frozen) return refuse(Status.Frozen, i);
  }
  for (let i: u32 = 0; i < count; i++) {
    if (load<u32>(at(i) + STATE) == AccountState.Closed) return refuse(Status.Closed, i);
  }
  return Status.Ok;
}

/** Whether so many accounts can be in the frame. */
function isPath(accounts: f64): bool {
  return isIntegerIn(accounts, 1, <f64>FRAME_ACCOUNTS);
}

/** A settlement must find what was reserved: anything else is a corrupt ledger, never a caller's mistake. */
function checkReserved(count: u32, estimate: i64): i32 {
  if (estimate < 0) return Status.AmountInvalid;
  for (let i: u32 = 0; i < count; i++) {
    if (read(at(i), RESERVED) < estimate) return refuse(Status.Underflow, i);
  }
  return Status.Ok;
}

/** Funds `beyond`, the part that no reservation covers, by the policy. */
function settleBeyond(count: u32, estimate: i64, beyond: i64, overdraft: bool): i32 {
  let charge = beyond;
  for (let i: u32 = 0; i < count; i++) {
    const account = at(i);
    if (!(overdraft && overdraftLimitOf(account) > 0)) charge = min<i64>(charge, availableOf(account));
  }
  if (overdraft) {
    for (let i: u32 = 0; i < count; i++) {
      const account = at(i);
      const limit = overdraftLimitOf(account);
      const deficit = charge - availableOf(account);
      // A charge that leaves no deficit is booked even where debt is beyond a limit that was lowered meanwhile.
      if (limit == 0 || deficit <= 0) continue;
      if (deficit > limit - read(account, DEBT)) return refuse(Status.OverdraftLimitExceeded, i);
    }
  }
  return book(count, estimate, estimate, charge, beyond, overdraft);
}

/**
 * Writes a decided settlement: `estimate` leaves reserved, `covered` of it is spent, `charge` on top is spent as far as
 * the account has it and becomes debt beyond. Accounts that could not cover `beyond` and may not owe are marked.
 */
function book(count: u32, estimate: i64, covered: i64, charge: i64, beyond: i64, overdraft: bool): i32 {
  for (let i: u32 = 0; i < count; i++) {
    const account = at(i);
    const fromAvailable = min<i64>(charge, availableOf(account));
    const deficit = charge - fromAvailable;
    const spent = read(account, SPENT);
    const debt = read(account, DEBT);
    if (covered > i64.MAX_VALUE - spent || fromAvailable > i64.MAX_VALUE - spent - covered) {
      return refuse(Status.Overflow, i);
    }
    if (deficit > i64.MAX_VALUE - debt) return refuse(Status.Overflow, i);
    const reserved = read(account, RESERVED) - estimate;
    if (!representable(read(account, ALLOCATED), spent + covered + fromAvailable, reserved, debt + deficit)) {
      return refuse(Status.Overflow, i);
    }
  }
  for (let i: u32 = 0; i < count; i++) {
    const account = at(i);
    const remaining = remainingOf(account);
    const fromAvailable = min<i64>(charge, max<i64>(remaining, 0));
    write(account, RESERVED, read(account, RESERVED) - estimate);
    write(account, SPENT, read(account, SPENT) + covered + fromAvailable);
    write(account, DEBT, read(account, DEBT) + charge - fromAvailable);
    const mayOwe = overdraft && overdraftLimitOf(account) > 0;
    if (charge < beyond && remaining < beyond && !mayOwe) {
      store<u32>(account + MARK, 1);
    }
  }
  store<i64>(FRAME_RESULTS, covered + charge);
  return Status.Ok;
}
