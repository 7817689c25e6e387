// Kernels: capacities, names, owners, expiry, removal, closing.

import {
  AtomicBudget,
  AtomicTokenBudget,
  attachKernel,
  createKernel,
  defaultKernel,
  KernelFullError,
  RateBudget,
  type TokenReservation,
} from "purser";
import { describe, expect, test } from "vitest";
import { HEADER_LOCK } from "../../../src/kernel/generated/abi.ts";
import { BAD_AMOUNTS } from "../../support/arbitraries.ts";

function granted(reservation: TokenReservation | null): TokenReservation {
  if (reservation === null) throw new Error("expected the budget to grant a reservation");
  return reservation;
}

function thrown(run: () => unknown): { code?: string; option?: string; message: string; name: string } {
  try {
    run();
  } catch (error) {
    return error as { code?: string; option?: string; message: string; name: string };
  }
  throw new Error("expected a throw");
}

describe("capacity", () => {
  test("the directory holds exactly as many budgets as asked for, then names the option to raise", () => {
    const kernel = createKernel({ budgets: 3, holds: 1 });
    for (const name of ["a", "b", "c"]) new AtomicBudget(1, { kernel, name });
    const error = thrown(() => new AtomicBudget(1, { kernel, name: "d" }));
    expect(error).toBeInstanceOf(KernelFullError);
    expect(error).toMatchObject({ code: "KERNEL_FULL", option: "budgets", name: "KernelFullError" });
    new AtomicBudget(1, { kernel, name: "b" }).remove();
    expect(new AtomicBudget(9, { kernel, name: "d" }).available).toBe(9);
  });

  test("there are exactly as many holds as asked for, then the option to raise is named", () => {
    const kernel = createKernel({ budgets: 1, holds: 2 });
    const budget = new AtomicTokenBudget(100, { kernel });
    const first = granted(budget.tryReserveTokens(1));
    granted(budget.tryReserveTokens(1));
    expect(thrown(() => budget.tryReserveTokens(1))).toMatchObject({ code: "KERNEL_FULL", option: "holds" });
    expect(budget.available).toBe(98);
    first.cancel();
    granted(budget.tryReserveTokens(1));
    expect(budget.available).toBe(98);
  });

  test("a denied reservation needs no hold", () => {
    const kernel = createKernel({ budgets: 1, holds: 1 });
    const budget = new AtomicTokenBudget(5, { kernel });
    granted(budget.tryReserveTokens(5));
    expect(budget.tryReserveTokens(1)).toBeNull();
  });

  test("the memory is as large as the capacities need", () => {
    const kernel = createKernel({ budgets: 4_000, holds: 100_000 });
    expect(kernel.budgets).toBe(4_000);
    expect(kernel.holds).toBe(100_000);
    const budget = new AtomicTokenBudget(2 ** 40, { kernel });
    for (let i = 0; i < 100_000; i++) granted(budget.tryReserveTokens(1));
    expect(budget.held).toBe(100_000);
    kernel.close();
    expect(budget.available).toBe(2 ** 40);
  });
});

describe("names", () => {
  test("the same name is the same budget; no name is a private one", () => {
    const kernel = createKernel();
    const one = new AtomicBudget(10, { kernel, name: "rows" });
    const same = new AtomicBudget(10, { kernel, name: "rows" });
    const secret = new AtomicBudget(10, { kernel });
    expect(one.tryReserve(4)).toBe(true);
    expect(same.available).toBe(6);
    expect(secret.available).toBe(10);
  });

  test("a name that serves another kind or capacity is refused", () => {
    const kernel = createKernel();
    new AtomicBudget(10, { kernel, name: "rows" });
    expect(thrown(() => new AtomicBudget(11, { kernel, name: "rows" })).code).toBe("BUDGET_MISMATCH");
    expect(thrown(() => new AtomicTokenBudget(10, { kernel, name: "rows" })).code).toBe("BUDGET_MISMATCH");
  });

  test("a removed budget is stale for every handle, and its name begins anew", () => {
    const kernel = createKernel({ budgets: 1, holds: 4 });
    const budget = new AtomicTokenBudget(10, { kernel, name: "tokens" });
    const other = new AtomicTokenBudget(10, { kernel, name: "tokens" });
    const reservation = granted(budget.tryReserveTokens(4));
    budget.remove();
    const renewed = new AtomicTokenBudget(20, { kernel, name: "tokens" });
    for (const stale of [
      () => other.available,
      () => other.tryReserveTokens(1),
      () => other.refill(),
      () => other.remove(),
      () => budget.recordUsage(reservation, 1, 1),
    ]) {
      expect(thrown(stale).code).toBe("BUDGET_REMOVED");
    }
    reservation.cancel();
    expect(renewed.available).toBe(20);
    expect(renewed.tokensConsumed()).toBe(0);
    expect(renewed.openReservations).toBe(0);
  });

  test.each([
    ["", RangeError],
    ["x".repeat(1_025), RangeError],
    [7, TypeError],
    [null, TypeError],
    ["\ud800", RangeError],
    ["\u0000reserved", RangeError],
  ])("the name %j is refused", (name, errorClass) => {
    expect(() => new AtomicBudget(1, { name: name as string })).toThrow(errorClass);
  });
});

describe("threads of one kernel, played by two attachments", () => {
  test("closing one gives back its reservations and leaves the other's", () => {
    const first = createKernel();
    const second = attachKernel(first.memory);
    expect(second.owner).not.toBe(first.owner);
    const mine = new AtomicTokenBudget(100, { kernel: first, name: "shared" });
    const theirs = new AtomicTokenBudget(100, { kernel: second, name: "shared" });
    granted(mine.tryReserveTokens(10));
    const kept = granted(theirs.tryReserveTokens(20));
    first.close();
    first[Symbol.dispose]();
    expect(theirs.held).toBe(20);
    theirs.recordUsage(kept, 5, 5);
    expect(mine.available).toBe(90);
  });

  test("a reservation can be settled by the other, once", () => {
    const first = createKernel();
    const second = attachKernel(first.memory, { owner: first.issueOwner() });
    const mine = new AtomicTokenBudget(100, { kernel: first, name: "shared" });
    const theirs = new AtomicTokenBudget(100, { kernel: second, name: "shared" });
    const reservation = granted(mine.tryReserveTokens(30));
    const adopted = theirs.adopt(JSON.parse(JSON.stringify(mine.toTicket(reservation))));
    theirs.recordUsage(adopted, 10, 2);
    expect(thrown(() => mine.recordUsage(reservation, 10, 2)).code).toBe("RESERVATION_SETTLED");
    reservation.cancel();
    expect(mine.available).toBe(88);
    expect(mine.tokensConsumed()).toBe(12);
  });

  test("a hold is no use at another budget", () => {
    const kernel = createKernel();
    const budget = new AtomicTokenBudget(10, { kernel });
    const other = new AtomicTokenBudget(10, { kernel });
    const reservation = granted(budget.tryReserveTokens(3));
    expect(() => other.recordUsage(reservation, 1, 1)).toThrow(TypeError);
    expect(() => other.recordUsage(other.adopt(budget.toTicket(reservation)), 1, 1)).toThrow();
    expect(budget.held).toBe(3);
    expect(other.available).toBe(10);
  });
});

describe("owner ids", () => {
  test("are for one thread each, and once", () => {
    const kernel = createKernel();
    const owner = kernel.issueOwner();
    expect(attachKernel(kernel.memory, { owner }).owner).toBe(owner);
    for (const bad of [owner, owner + 1, kernel.owner, 1_000]) {
      expect(thrown(() => attachKernel(kernel.memory, { owner: bad }))).toMatchObject({
        code: "ARGUMENT_INVALID",
      });
    }
    expect(attachKernel(kernel.memory).owner).not.toBe(owner);
    expect(thrown(() => kernel.reclaim(1_000))).toMatchObject({ code: "ARGUMENT_INVALID" });
  });

  test("wait for 256 threads at most, and are free again once reclaimed", () => {
    const kernel = createKernel();
    const owners = Array.from({ length: 256 }, () => kernel.issueOwner());
    expect(thrown(() => kernel.issueOwner())).toMatchObject({ code: "KERNEL_FULL", option: "threads" });
    kernel.reclaim(owners[0] ?? 0);
    expect(kernel.issueOwner()).toBeGreaterThan(255);
    expect(thrown(() => attachKernel(kernel.memory, { owner: owners[0] ?? 0 })).code).toBe(
      "ARGUMENT_INVALID",
    );
  });

  test("private budgets of two attachments are two budgets", () => {
    const kernel = createKernel();
    const other = attachKernel(kernel.memory);
    const one = new AtomicBudget(10, { kernel });
    expect(one.tryReserve(7)).toBe(true);
    expect(new AtomicBudget(10, { kernel: other }).available).toBe(10);
  });
});

test("a kernel that is full to its last slot finds every budget by its name, in every thread", () => {
  const kernel = createKernel({ budgets: 32, holds: 1 });
  const names = Array.from({ length: 32 }, (_, index) => `budget ${index}`);
  for (const [index, name] of names.entries()) {
    expect(new AtomicBudget(100, { kernel, name }).tryReserve(index)).toBe(true);
  }
  const other = attachKernel(kernel.memory);
  for (const [index, name] of names.entries()) {
    expect(new AtomicBudget(100, { kernel: other, name }).available).toBe(100 - index);
  }
});

describe("a directory whose lock nobody gives back", () => {
  test("names the owner inside, and is free once that one is reclaimed", () => {
    const kernel = createKernel();
    const dead = attachKernel(kernel.memory);
    const lock = new Int32Array(kernel.memory.buffer, HEADER_LOCK, 1);
    lock[0] = dead.owner; // as a thread leaves it that is terminated in there
    const error = thrown(() => new AtomicBudget(1, { kernel, name: "late" }));
    expect(error).toMatchObject({ code: "KERNEL_BUSY", owner: dead.owner });
    kernel.reclaim(dead.owner);
    expect(new AtomicBudget(1, { kernel, name: "late" }).available).toBe(1);
  });
});

describe("what has neither name nor kernel", () => {
  test("never runs out of slots", () => {
    const limits = { limit: 3, windowMs: 1_000 };
    const rates = Array.from({ length: 2_100 }, () => new RateBudget(limits, { now: () => 0 }));
    for (const rate of rates) expect(rate.tryReserve(3)).toBe(true);
  });

  test("takes no slot as a budget, and as many reservations as there is memory for", () => {
    const budget = new AtomicTokenBudget(10_000);
    for (let open = 1; open <= 10_000; open++) {
      granted(budget.tryReserveTokens(1));
      if (open % 1_000 === 0) expect([budget.openReservations, budget.held]).toEqual([open, open]);
    }
    expect(budget.tryReserveTokens(1)).toBeNull();
    expect(budget.kernel).toBeNull();
  });
});

describe("budgets that name no kernel", () => {
  test("live in the default kernel, which can be reached", () => {
    const budget = new AtomicTokenBudget(10, { name: "in the default kernel" });
    granted(budget.tryReserveTokens(4, { expiresAtMs: 5 }));
    expect(budget.kernel).toBe(defaultKernel());
    expect(defaultKernel().expire(5)).toBe(1);
    expect(budget.available).toBe(10);
    budget.remove();
  });
});

describe("removing", () => {
  test("frees the holds of what was open", () => {
    const kernel = createKernel({ budgets: 1, holds: 2 });
    for (let round = 0; round < 5; round++) {
      const budget = new AtomicTokenBudget(10, { kernel });
      granted(budget.tryReserveTokens(1));
      const second = granted(budget.tryReserveTokens(1));
      budget.remove();
      second.cancel();
    }
  });
});

describe("expiry", () => {
  test("gives back what is due, and nothing twice", () => {
    const kernel = createKernel();
    const budget = new AtomicTokenBudget(100, { kernel });
    const due = granted(budget.tryReserveTokens(10, { expiresAtMs: 1_000 }));
    granted(budget.tryReserveTokens(20, { expiresAtMs: 1_001 }));
    granted(budget.tryReserveTokens(30));
    expect(kernel.expire(999)).toBe(0);
    expect(kernel.expire(1_000)).toBe(1);
    expect(kernel.expire(1_000)).toBe(0);
    expect(budget.available).toBe(50);
    expect(thrown(() => budget.recordUsage(due, 1, 1)).code).toBe("RESERVATION_SETTLED");
    due.cancel();
    expect(budget.available).toBe(50);
  });
});

describe("memories that cannot serve", () => {
  test("attaching to a memory without a kernel", () => {
    const error = thrown(() => attachKernel(new WebAssembly.Memory({ initial: 2, maximum: 2 })));
    expect(error).toMatchObject({ code: "KERNEL_MEMORY" });
  });

  test("a memory that holds something else", () => {
    const memory = new WebAssembly.Memory({ initial: 2, maximum: 2 });
    new Uint8Array(memory.buffer).fill(1, 0, 8);
    expect(thrown(() => createKernel({ memory, budgets: 1, holds: 1 })).code).toBe("KERNEL_MEMORY");
    expect(thrown(() => attachKernel(memory)).code).toBe("KERNEL_MEMORY");
  });

  test("a memory that is too small, or has no maximum", () => {
    const small = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    expect(thrown(() => createKernel({ memory: small })).code).toBe("KERNEL_MEMORY");
    const boundless = new WebAssembly.Memory({ initial: 64 });
    expect(thrown(() => createKernel({ memory: boundless })).code).toBe("KERNEL_MEMORY");
  });

  test("a memory of other capacities", () => {
    const { memory } = createKernel({ budgets: 10, holds: 10, shared: false });
    expect(thrown(() => createKernel({ memory, budgets: 11, holds: 10 })).code).toBe("KERNEL_MEMORY");
    expect(createKernel({ memory, budgets: 10, holds: 10 }).budgets).toBe(10);
  });

  test("what is no memory", () => {
    for (const memory of [null, {}, new ArrayBuffer(65_536)]) {
      expect(() => attachKernel(memory as WebAssembly.Memory)).toThrow(TypeError);
    }
  });
});

describe("bad options", () => {
  test.each(BAD_AMOUNTS.filter(([value]) => value !== undefined))(
    "%s is refused for every number",
    (value, errorClass) => {
      const bad = value as number;
      expect(() => createKernel({ budgets: bad })).toThrow(errorClass);
      expect(() => createKernel({ holds: bad })).toThrow(errorClass);
      expect(() => attachKernel(createKernel().memory, { owner: bad })).toThrow(errorClass);
      expect(() => createKernel().reclaim(bad)).toThrow(errorClass);
      expect(() => createKernel().expire(bad)).toThrow(errorClass);
    },
  );

  test.each([0, 2 ** 20 + 1])("%i budgets are refused", (budgets) => {
    expect(() => createKernel({ budgets })).toThrow(/budgets must be an integer from 1 to 1048576/);
  });
});
