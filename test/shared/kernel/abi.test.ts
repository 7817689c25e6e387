// The boundary of the wasm, called as no adapter would call it: every exported function gets hostile values in every
// place, over both memories. It must answer with an error status and leave every byte as it was.

import { AtomicBudget, AtomicTokenBudget, createKernel } from "purser";
import { describe, expect, test } from "vitest";
import { Kind, Status } from "../../../src/kernel/generated/abi.ts";
import { instantiate, type KernelExports } from "../../../src/kernel/instance.ts";

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

type Place = "amount" | "handle" | "owner" | "ticket" | "slot" | "time" | "free";

/** Each export with a valid call, and what each argument is. */
interface Call {
  readonly name: keyof KernelExports;
  readonly places: readonly Place[];
  readonly valid: (ids: Ids) => readonly number[];
}

interface Ids {
  readonly rows: number;
  readonly tokens: number;
  readonly owner: number;
}

const CALLS: readonly Call[] = [
  { name: "counterTake", places: ["handle", "amount"], valid: ({ rows }) => [rows, 1] },
  { name: "counterGive", places: ["handle", "amount"], valid: ({ rows }) => [rows, 1] },
  {
    name: "counterGrant",
    places: ["handle", "amount", "owner"],
    valid: ({ rows, owner }) => [rows, 1, owner],
  },
  { name: "counterRefill", places: ["handle", "owner"], valid: ({ rows, owner }) => [rows, owner] },
  { name: "budgetRemove", places: ["handle", "owner"], valid: ({ rows, owner }) => [rows, owner] },
  { name: "budgetFigure", places: ["handle", "free"], valid: ({ rows }) => [rows, 0] },
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
];

describe.each([{ shared: true }, { shared: false }])("with shared: $shared where possible", ({ shared }) => {
  function prepare() {
    const kernel = createKernel({ budgets: 4, holds: 4, ...(shared ? {} : { shared: false }) });
    const exports = instantiate(kernel.memory);
    const rows = exports.budgetOpen(1n, 2n, Kind.Counter, 100, kernel.owner);
    const tokens = exports.budgetOpen(3n, 4n, Kind.Tokens, 100, kernel.owner);
    exports.counterTake(rows, 10);
    exports.holdReserve(tokens, 10, kernel.owner, 901, 5, 0);
    const bytes = (): string => Array.from(new Uint8Array(kernel.memory.buffer.slice(0))).join();
    return { exports, bytes, ids: { rows, tokens, owner: kernel.owner } };
  }

  for (const call of CALLS) {
    test(`${call.name} refuses every hostile argument and changes no byte`, () => {
      const { exports, bytes, ids } = prepare();
      const run = exports[call.name] as (...values: number[]) => number;
      const before = bytes();
      for (const [position, place] of call.places.entries()) {
        if (place === "free") continue;
        const tooLarge =
          place === "slot" ? [4, 2 ** 32] : place === "owner" ? [ids.owner + 1, 2 ** 20, 0] : [];
        const handles = place === "handle" ? [ids.rows + 2 ** 20, ids.rows + 4, 0, 2 ** 52] : [];
        for (const hostile of [...HOSTILE, ...tooLarge, ...handles]) {
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
    expect(exports.counterGive(ids.tokens, 1)).toBe(Status.WrongKind);
    expect(exports.holdReserve(ids.rows, 1, ids.owner, 5, 0, 0)).toBe(-Status.WrongKind);
    expect(exports.heldAmount(ids.rows)).toBe(-Status.WrongKind);
    expect(exports.budgetOpen(1n, 2n, 3, 100, ids.owner)).toBe(-Status.ArgumentInvalid);
    expect(exports.budgetOpen(1n, 2n, Kind.Counter, 0.5, ids.owner)).toBe(-Status.AmountInvalid);
    expect(bytes()).toBe(before);
  });

  test("the same ticket does not settle twice, and a foreign hold not at all", () => {
    const { exports, ids } = prepare();
    const other = exports.budgetOpen(5n, 6n, Kind.Tokens, 100, ids.owner);
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
