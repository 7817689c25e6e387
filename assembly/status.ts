// The codes that cross the boundary. Like abi.ts, this file is plain enumerations and also becomes
// src/kernel/generated/abi.ts.

/**
 * What every exported function may answer. A number is never reused. Where several apply, the one that stands first is
 * answered: bad arguments, then the memory's state, then the object's, then the budget's decision. Functions that
 * return a slot, a handle, a figure or a count answer `-status` instead.
 */
export enum Status {
  Ok = 0,

  // Bad arguments: a bug in the caller.
  AmountInvalid = 1, //     not an integer in 0 … 2^53−1
  HandleInvalid = 2, //     not a handle, a slot, an owner or a ticket that this memory could have given out
  TimeInvalid = 3, //       not an integer in 0 … 2^53−1 milliseconds
  ArgumentInvalid = 4, //   a count, a kind or a policy outside its range

  // The memory.
  NotInitialised = 5, //    no thread has initialised it yet
  LayoutMismatch = 6, //    it holds something else, or another version's layout
  CapacityMismatch = 7, //  it was initialised with other capacities, or it is too small for them
  OwnersExhausted = 8, //   2^20−1 threads have attached over its lifetime
  PendingFull = 29, //      256 owner ids are waiting for their threads to attach
  Busy = 9, //              another thread is in the directory: ask again, or reclaim it if it was terminated there

  // The budget.
  NotFound = 10, //         no budget of that name
  WrongKind = 11, //        the handle or the name belongs to a budget of another kind
  Stale = 12, //            the budget was removed; its slot may serve another one by now
  NotIdle = 28, //          something of it is out, so it stays
  Mismatch = 13, //         a budget of that name exists with another capacity
  BudgetsFull = 14, //      every budget slot is taken
  HoldsFull = 15, //        every hold slot is taken

  // The hold.
  NotHeld = 16, //          already settled, expired or reclaimed
  ForeignHold = 17, //      the hold belongs to another budget

  // The decision.
  InDebt = 18, //           nothing is granted while there is debt
  Exceeds = 19, //          the amount is more than what is available
  Overflow = 20, //         the figure would leave its range

  // A path of accounts, in order of precedence.
  OverLimit = 21,
  Frozen = 22,
  Closed = 23,
  DebtOutstanding = 24,
  ExceedsAvailable = 25,
  OverdraftLimitExceeded = 26,
  Underflow = 27, //         more would be settled than is reserved: the ledger is corrupt
}
