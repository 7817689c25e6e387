// The boundary of the wasm, called as no adapter would call it: every exported function gets hostile values in every
// place, over both memories. It must answer with an error status and leave every byte as it was.

import { AtomicBudget, AtomicTokenBudget, createKernel } from "purser";
import "purser/ledger";
import { describe, expect, test } from "vitest";
import { CREDIT_MAX, Figure, Kind, Overage, Status } from "../../../src/kernel/generated/abi.ts";
import { instantiate, instantiateAccounts, type KernelExports } from "../../../src/kernel/instance.ts";

/** JavaScript turns the last four into 0, 7, 1 and 3 before wasm sees them: only the adapter can refuse those. */
const HOSTILE = [
  Number.NaN,
  -1,
  -5.5,
  0.5,
  1.5,
  2 ** 53,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  1e300,
];

/**
 * `choice` is a selector; `delta` may be negative; `chain` is a slot, or −1 for none; `free` takes anything: it only
 * affects speed.
 */
type Place =
  | "amount"
  | "handle"
  | "owner"
  | "ticket"
  | "slot"
  | "time"
  | "choice"
  | "delta"
  | "chain"
  | "cell"
  | "free";

/** What is valid in a place although it is hostile elsewhere. */
const isValid = (place: Place, value: number): boolean =>
  (place === "delta" && (value === -1 || value === -5)) || (place === "chain" && value === -1);

/** Each export with a valid call, and what each argument is. */
interface Call {
  readonly name: keyof KernelExports;
  readonly places: readonly Place[];
  readonly valid: (ids: Ids) => readonly number[];
}

interface Ids {
  readonly rows: number;
  readonly tokens: number;
  readonly permits: number;
  readonly rate: number;
  readonly lent: number;
  readonly cell: number;
  readonly owner: number;
}

const CALLS: readonly Call[] = [
  { name: "counterTake", places: ["handle", "amount"], valid: ({ rows }) => [rows, 1] },
  { name: "counterGive", places: ["handle", "amount"], valid: ({ rows }) => [rows, 1] },
  {
    name: "counterGrant",
    places: ["handle", "amount"],
    valid: ({ rows }) => [rows, 1],
  },
  { name: "counterFit", places: ["handle", "amount", "amount"], valid: ({ rows }) => [rows, 1, 2] },
  {
    name: "creditFit",
    places: ["handle", "amount", "amount", "cell"],
    valid: ({ lent, cell }) => [lent, 1, 2, cell],
  },
  {
    name: "holdFit",
    places: ["slot", "owner", "ticket", "amount"],
    valid: ({ owner }) => [2, owner, 903, 1],
  },
  { name: "rateFit", places: ["handle", "amount", "amount", "time"], valid: ({ rate }) => [rate, 1, 2, 0] },
  { name: "creditMove", places: ["handle", "delta", "cell"], valid: ({ lent, cell }) => [lent, 1, cell] },
  {
    name: "creditJoin",
    places: ["handle", "owner", "ticket", "free"],
    valid: ({ lent, owner }) => [lent, owner, 903, 0],
  },
  { name: "counterRefill", places: ["handle"], valid: ({ rows }) => [rows] },
  { name: "budgetRemove", places: ["handle", "owner"], valid: ({ rows, owner }) => [rows, owner] },
  { name: "budgetFigure", places: ["handle", "choice"], valid: ({ rows }) => [rows, 0] },
  { name: "budgetRemoveIdle", places: ["handle", "owner"], valid: ({ tokens, owner }) => [tokens, owner] },
  {
    name: "budgetAdjust",
    places: ["handle", "delta", "owner"],
    valid: ({ tokens, owner }) => [tokens, 1, owner],
  },
  {
    name: "holdAdjust",
    places: ["handle", "slot", "owner", "ticket", "delta", "owner"],
    valid: ({ tokens, owner }) => [tokens, 0, owner, 901, 1, owner],
  },
  {
    name: "permitTake",
    places: ["handle", "choice", "owner", "ticket", "free"],
    valid: ({ permits, owner }) => [permits, 3, owner, 902, 0],
  },
  {
    name: "permitWait",
    places: ["handle", "choice", "owner", "ticket", "free"],
    valid: ({ permits, owner }) => [permits, 3, owner, 902, 0],
  },
  { name: "permitWaiting", places: ["handle", "choice"], valid: ({ permits }) => [permits, 3] },
  { name: "rateTake", places: ["handle", "amount", "time"], valid: ({ rate }) => [rate, 1, 0] },
  { name: "rateGive", places: ["handle", "amount"], valid: ({ rate }) => [rate, 1] },
  { name: "rateWait", places: ["handle", "amount", "time"], valid: ({ rate }) => [rate, 1, 0] },
  { name: "rateAvailable", places: ["handle", "time"], valid: ({ rate }) => [rate, 0] },
  {
    name: "allClaim",
    places: ["chain", "handle", "amount", "time", "owner", "ticket", "free"],
    valid: ({ tokens, owner }) => [-1, tokens, 1, 0, owner, 904, 0],
  },
  {
    name: "allTake",
    places: ["slot", "owner", "ticket"],
    valid: ({ owner }) => [2, owner, 903],
  },
  {
    name: "holdReserve",
    places: ["handle", "amount", "owner", "ticket", "time", "free"],
    valid: ({ tokens, owner }) => [tokens, 1, owner, 900, 0, 0],
  },
  {
    name: "holdSettle",
    places: ["handle", "slot", "owner", "ticket", "amount", "owner"],
    valid: ({ tokens, owner }) => [tokens, 0, owner, 901, 1, owner],
  },
  { name: "holdExpire", places: ["time", "owner"], valid: ({ owner }) => [1, owner] },
  { name: "holdReclaim", places: ["owner", "owner"], valid: ({ owner }) => [owner, owner] },
  { name: "heldAmount", places: ["handle"], valid: ({ tokens }) => [tokens] },
  { name: "heldCount", places: ["handle"], valid: ({ tokens }) => [tokens] },
];

const ARGUMENT_STATUSES: number[] = [
  Status.AmountInvalid,
  Status.HandleInvalid,
  Status.TimeInvalid,
  Status.ArgumentInvalid,
  Status.Stale,
  Status.ForeignHold,
  Status.WrongKind,
];

describe.each([{ shared: true }, { shared: false }])("with shared: $shared where possible", ({ shared }) => {
  function prepare() {
    const kernel = createKernel({ budgets: 16, holds: 4, ...(shared ? {} : { shared: false }) });
    const exports = instantiate(kernel.memory);
    const rows = exports.budgetOpen(1n, 2n, Kind.Counter, 100, kernel.owner);
    const tokens = exports.budgetOpen(3n, 4n, Kind.Tokens, 100, kernel.owner);
    // Total and one category of 3 each: a field is two bits and a guard, so the category begins at bit 3.
    const permits = exports.permitOpen(5n, 6n, 0b011_011n, 0b100_100n, 0n, kernel.owner);
    const rate = exports.rateOpen(7n, 8n, 10, 10, 1_000, kernel.owner);
    const lent = exports.creditOpen(9n, 10n, 100, 20, kernel.owner);
    const cell = exports.creditJoin(lent, kernel.owner, 900, 1);
    exports.creditMove(lent, -10, cell);
    exports.counterTake(rows, 10);
    exports.holdReserve(tokens, 10, kernel.owner, 901, 5, 0);
    exports.allClaim(-1, tokens, 1, 0, kernel.owner, 903, 1);
    const bytes = (): string => Array.from(new Uint8Array(kernel.memory.buffer.slice(0))).join();
    return { exports, bytes, ids: { rows, tokens, permits, rate, lent, cell, owner: kernel.owner } };
  }

  for (const call of CALLS) {
    test(`${call.name} refuses every hostile argument and changes no byte`, () => {
      const { exports, bytes, ids } = prepare();
      const run = exports[call.name] as (...values: number[]) => number;
      const before = bytes();
      for (const [position, place] of call.places.entries()) {
        if (place === "free") continue;
        const tooLarge =
          place === "slot" || place === "chain"
            ? [4, 2 ** 32]
            : place === "owner"
              ? [ids.owner + 1, 2 ** 20, 0]
              : [];
        const handles = place === "handle" ? [ids.rows + 2 ** 20, ids.rows + 16, 0, 2 ** 52] : [];
        const cells = place === "cell" ? [0, 1, ids.cell + 4, 2 ** 42, 2 ** 43] : [];
        const choices = place === "choice" ? [99, 2 ** 32, 2 ** 32 + 3] : [];
        const hostiles = [...HOSTILE, ...tooLarge, ...handles, ...cells, ...choices];
        for (const hostile of hostiles.filter((value) => !isValid(place, value))) {
          const values = [...call.valid(ids)];
          values[position] = hostile;
          const status = Math.abs(run(...values));
          expect(ARGUMENT_STATUSES, `${call.name}(${values.join(", ")})`).toContain(status);
        }
      }
      expect(bytes()).toBe(before);
    });
  }

  test("the wrong kind of budget is refused", () => {
    const { exports, bytes, ids } = prepare();
    const before = bytes();
    expect(exports.counterTake(ids.tokens, 1)).toBe(Status.WrongKind);
    expect(exports.counterGive(ids.permits, 1)).toBe(Status.WrongKind);
    expect(exports.holdReserve(ids.rows, 1, ids.owner, 5, 0, 0)).toBe(-Status.WrongKind);
    expect(exports.heldAmount(ids.rows)).toBe(-Status.WrongKind);
    for (const other of [ids.permits, ids.rate, ids.lent]) {
      expect(exports.counterFit(other, 1, 2)).toBe(-Status.WrongKind);
    }
    for (const other of [ids.rows, ids.tokens, ids.permits, ids.rate]) {
      expect(exports.creditFit(other, 1, 2, ids.cell)).toBe(-Status.WrongKind);
    }
    for (const other of [ids.rows, ids.tokens, ids.permits, ids.lent]) {
      expect(exports.rateFit(other, 1, 2, 0)).toBe(-Status.WrongKind);
    }
    // The least is not the most.
    expect(exports.counterFit(ids.rows, 2, 1)).toBe(-Status.ArgumentInvalid);
    expect(exports.creditFit(ids.lent, 2, 1, ids.cell)).toBe(-Status.ArgumentInvalid);
    expect(exports.rateFit(ids.rate, 2, 1, 0)).toBe(-Status.ArgumentInvalid);
    expect(exports.holdFit(2, ids.owner, 903, 2)).toBe(-Status.ArgumentInvalid);
    for (const other of [ids.permits, ids.rate]) {
      expect(exports.counterTake(other, 1)).toBe(Status.WrongKind);
      expect(exports.counterGrant(other, 1)).toBe(Status.WrongKind);
      expect(exports.counterRefill(other)).toBe(Status.WrongKind);
      expect(exports.budgetFigure(other, 1)).toBe(-Status.WrongKind);
    }
    for (const other of [ids.rows, ids.tokens, ids.permits, ids.rate]) {
      expect(exports.creditJoin(other, ids.owner, 5, 0)).toBe(-Status.WrongKind);
      expect(exports.creditMove(other, -1, ids.cell)).toBe(Status.WrongKind);
      expect(exports.creditMove(other, 1, ids.cell)).toBe(Status.WrongKind);
    }
    expect(exports.counterTake(ids.lent, 1)).toBe(Status.WrongKind);
    expect(exports.counterGive(ids.lent, 1)).toBe(Status.WrongKind);
    expect(exports.heldAmount(ids.lent)).toBe(-Status.WrongKind);
    expect(exports.budgetFind(9n, 10n, Kind.Counter)).toBe(-Status.WrongKind);
    expect(exports.creditOpen(9n, 10n, 100, 21, ids.owner)).toBe(-Status.Mismatch);
    expect(exports.creditOpen(11n, 12n, 0.5, 20, ids.owner)).toBe(-Status.AmountInvalid);
    for (const credit of [...HOSTILE, 0, CREDIT_MAX + 1]) {
      expect(exports.creditOpen(11n, 12n, 100, credit, ids.owner)).toBe(-Status.ArgumentInvalid);
    }
    expect(exports.permitTake(ids.rows, 3, ids.owner, 5, 0)).toBe(-Status.WrongKind);
    expect(exports.rateTake(ids.tokens, 1, 0)).toBe(Status.WrongKind);
    expect(exports.budgetOpen(1n, 2n, Kind.Permits, 100, ids.owner)).toBe(-Status.ArgumentInvalid);
    expect(exports.budgetOpen(1n, 2n, Kind.Counter, 0.5, ids.owner)).toBe(-Status.AmountInvalid);
    expect(bytes()).toBe(before);
  });

  test("a cell is its owner's, of one budget, and of nobody once it was given back", () => {
    const { exports, bytes, ids } = prepare();
    const other = exports.creditOpen(13n, 14n, 100, 20, ids.owner);
    const stranger = exports.ownerIssue();
    const before = bytes();
    const hold = ids.owner * 2 ** 22; // slot 0 is a hold of tokens
    for (const cell of [ids.cell + (stranger - ids.owner) * 2 ** 22, hold]) {
      expect(exports.creditMove(ids.lent, -1, cell)).toBe(Status.NotHeld);
      expect(exports.creditMove(ids.lent, 1, cell)).toBe(Status.NotHeld);
    }
    expect(exports.creditMove(other, -1, ids.cell)).toBe(Status.NotHeld);
    expect(bytes()).toBe(before);
    expect(exports.holdReclaim(ids.owner, stranger)).toBe(1); // the hold of tokens
    expect(exports.creditMove(ids.lent, -1, ids.cell)).toBe(Status.NotHeld);
    expect(exports.budgetFigure(ids.lent, Figure.Available)).toBe(90);
  });

  test("what fits is taken for a claim of tokens that stands alone, and for no other", () => {
    const { exports, bytes, ids } = prepare();
    const before = bytes();
    expect(exports.holdFit(0, ids.owner, 901, 1)).toBe(-Status.HandleInvalid); // held
    expect(exports.holdFit(2, ids.owner, 902, 1)).toBe(-Status.HandleInvalid); // another ticket
    expect(bytes()).toBe(before);
    expect(exports.holdFit(2, ids.owner, 903, 1)).toBe(1);
    expect(exports.holdSettle(ids.tokens, 2, ids.owner, 903, 0, ids.owner)).toBe(Status.Ok);
    const rows = exports.allClaim(-1, ids.rows, 1, 0, ids.owner, 910, 2);
    expect(exports.holdFit(rows, ids.owner, 910, 1)).toBe(-Status.WrongKind);
    const [first, second] = ids.rows > ids.tokens ? [ids.rows, ids.tokens] : [ids.tokens, ids.rows];
    const chain = exports.allClaim(-1, first, 1, 0, ids.owner, 911, 2);
    const both = exports.allClaim(chain, second, 1, 0, ids.owner, 912, 3);
    expect(exports.holdFit(both, ids.owner, 912, 1)).toBe(-Status.HandleInvalid);
    expect(exports.allTake(both, ids.owner, 912)).toBe(Status.Ok);
  });

  test("the same ticket does not settle twice, and a foreign hold not at all", () => {
    const { exports, ids } = prepare();
    const other = exports.budgetOpen(15n, 16n, Kind.Tokens, 100, ids.owner);
    expect(exports.holdSettle(other, 0, ids.owner, 901, 1, ids.owner)).toBe(Status.ForeignHold);
    expect(exports.holdSettle(ids.tokens, 0, ids.owner, 901, 1, ids.owner)).toBe(Status.Ok);
    expect(exports.holdSettle(ids.tokens, 0, ids.owner, 901, 1, ids.owner)).toBe(Status.NotHeld);
  });

  test("a memory that nobody initialised answers, and takes nothing", () => {
    const exports = instantiate(new WebAssembly.Memory({ initial: 1, maximum: 1 }));
    expect(exports.attach()).toBe(Status.NotInitialised);
    expect(exports.ownerIssue()).toBe(1);
    expect(exports.counterTake(2 ** 20, 1)).toBe(Status.HandleInvalid);
    expect(exports.budgetOpen(1n, 2n, Kind.Counter, 1, 1)).toBe(-Status.NotInitialised);
    expect(exports.holdExpire(1, 1)).toBe(0);
    for (const [budgets, holds] of [
      [0, 1],
      [1, 0],
      [1.5, 1],
      [Number.NaN, 1],
      [2 ** 20 + 1, 1],
      [1, 2 ** 22 + 1],
    ] as const) {
      expect(exports.initialise(budgets, holds)).toBe(Status.ArgumentInvalid);
    }
    expect(exports.initialise(2, 100_000)).toBe(Status.CapacityMismatch);
    expect(exports.attach()).toBe(Status.NotInitialised);
  });
});

test("unshared and shared kernels give the same answers", () => {
  for (const options of [{}, { shared: false }]) {
    const kernel = createKernel(options);
    const rows = new AtomicBudget(2 ** 53 - 1, { kernel });
    const tokens = new AtomicTokenBudget(2 ** 53 - 1, { kernel });
    expect(rows.tryReserve(2 ** 53 - 1)).toBe(true);
    expect(rows.tryReserve(1)).toBe(false);
    expect(tokens.tryReserveTokens(2 ** 53 - 1)).not.toBeNull();
    expect(tokens.available).toBe(0);
  }
});

test("accounts: every selector out of range is refused and changes nothing", () => {
  const exports = instantiateAccounts();
  expect(exports.accountPut(0, 100n, 1n, 2n, 3n, 4n, 0, 0)).toBe(Status.Ok);
  const figures = () => [0, 1, 2, 3, 4, 5, 6].map((figure) => exports.accountFigure(0, figure));
  const before = figures();
  const NONE = -(2n ** 63n);
  for (const bad of [...HOSTILE, 99, 2 ** 32, 2 ** 32 + 1]) {
    for (const put of [
      () => exports.accountPut(bad, 1n, 0n, 0n, 0n, 0n, 0, 0),
      () => exports.accountPut(0, 1n, 0n, 0n, 0n, 0n, bad, 0),
      () => exports.accountPut(0, 1n, 0n, 0n, 0n, 0n, 0, bad),
      () => exports.accountFund(bad, 1n, 0n),
      () => exports.pathReserve(bad, 1n),
      () => exports.pathRelease(bad, 1n),
      () => exports.pathCommit(bad, 1n, 1n, 0),
      () => exports.pathCommit(1, 1n, 1n, bad),
      () => exports.pathRefund(bad, 1n),
      () => exports.pathEvent(bad, 1n, 0),
      () => exports.pathEvent(1, 1n, bad),
      () => exports.pathEvent(1, 1n, Overage.Owe),
    ]) {
      expect(put()).toBe(Status.ArgumentInvalid);
    }
    expect(exports.accountFigure(bad, 0)).toBe(NONE);
    expect(exports.accountFigure(0, bad)).toBe(NONE);
  }
  for (const negative of [-1n, -(2n ** 63n)]) {
    expect(exports.accountPut(0, negative, 0n, 0n, 0n, 0n, 0, 0)).toBe(Status.AmountInvalid);
    expect(exports.pathReserve(1, negative)).toBe(Status.AmountInvalid);
    expect(exports.accountFund(0, negative, 0n)).toBe(Status.AmountInvalid);
  }
  expect(figures()).toEqual(before);
});
