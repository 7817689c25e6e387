// What both sides of the boundary must agree on: codes, selectors and limits. Plain enumerations and numbers, because
// the build also turns this file into src/kernel/generated/abi.ts; so the host repeats no constant, and the wasm
// carries no names.

/** Which figure of a budget `budgetFigure` reads. Consumed … OverReleased stand in the order of their words. */
export enum Figure {
  Capacity = 0,
  Available = 1,
  Debt = 2,
  Consumed = 3, //      over every epoch
  HighWater = 4, //     the most that was ever out at once: capacity − balance at its highest
  Denied = 5, //        how many takes and reservations were refused
  OverReleased = 6, //  what was given back beyond capacity
  Epoch = 7, //         grows with every refill
}

/** Which figure of a loaded account `accountFigure` reads. Allocated … Debt stand in the order of their words. */
export enum Account {
  Allocated = 0,
  Spent = 1,
  Reserved = 2,
  Debt = 3,
  Remaining = 4,
  Mark = 5, //       1 if a capped charge left its mark
  OverLimit = 6, //  1 if the mark stands, or debt is beyond a positive overdraft limit
}

/** Whether an account takes new reservations and events. */
export enum AccountState {
  Active = 0,
  Frozen = 1,
  Closed = 2,
}

/** What happens to usage beyond the estimate. */
export enum Overage {
  Reject = 0,
  AllowIfAvailable = 1,
  AllowWithOverdraft = 2,
  Owe = 3, //  never refused: what is beyond becomes debt, whatever the overdraft limit says
}

export enum Fund {
  Credit = 0,
  Debit = 1,
  Reset = 2,
  ResetSpent = 3,
  RepayDebt = 4,
}

/** What a slot serves. Part of its meta word, so that one comparison checks kind and generation together. */
export enum Kind {
  Any = 0,
  Counter = 1,
  Tokens = 2,
  Permits = 3,
  Rate = 4,
  Credit = 5, //  a counter whose threads have slices of their own
}

/** "PURSER" in ASCII is the magic; the layout version stands in its low 16 bits. */
export const LAYOUT_VERSION: u32 = 4;

/** Bits of a slot in a handle, so the most budgets of one memory is 2^20. */
export const BUDGETS_MAX: u32 = 1048576;
/** 256 MiB of holds. */
export const HOLDS_MAX: u32 = 4194304;
/** Twenty bits of a hold's state word. */
export const OWNERS_MAX: u32 = 1048575;
/** 41 bits of a hold's state word: at ten million reservations a second, more than two days of one thread. */
export const TICKET_MAX: i64 = 2199023255551;
/** Twice as much fits into the 23 bits of a cell's figures: a slice idle, and as much taken. */
export const CREDIT_MAX: u32 = 4194303;
/** In place of a cell, for a thread that has none because every hold is taken: a cell of owner 0, whom there is not. */
export const NO_CELL: u32 = 4194303;
/** The six levels of a subject, the caps of a chain of four tokens, and two to spare. */
export const FRAME_ACCOUNTS: u32 = 12;

/** How many budgets one decision can span: tokens, money, requests and permits, each for two tenants or providers. The
 * straight line that decides is written out so many times. */
export const ALL_MAX: u32 = 8;
/** `allTake` answers status + which of them · this. */
export const ALL_INDEX: u32 = 256;

/** Where the header keeps the word that threads waiting for a permit watch. */
export const HEADER_SEQUENCE: u32 = 28;
/** Where a counter keeps its meta word: generation << 8 | kind, or 0. */
export const COUNTER_META: u32 = 8;
/** Where a counter keeps the guard bits of permits, a slice of credit, a tenant's group. */
export const COUNTER_GUARDS: u32 = 96;
/** Where a counter counts how often it refused. */
export const COUNTER_DENIED: u32 = 48;
/** Where a token budget notes that somebody supplies it, and wants to be told when it refuses. */
export const COUNTER_SUPPLIED: u32 = 120;
/** Where a counter keeps how many wait for one of its permits. */
export const COUNTER_WAITING: u32 = 92;

/** Where the header keeps the owner inside the directory's lock. */
export const HEADER_LOCK: u32 = 20;

export const HEADER_BYTES: u32 = 128;
/** Ids that were issued for threads which have not attached yet: more than anybody starts at once. */
export const PENDING_MAX: u32 = 256;
export const PENDING_BYTES: u32 = 1024;
export const COUNTER_BYTES: u32 = 128;
export const HOLD_BYTES: u32 = 64;
