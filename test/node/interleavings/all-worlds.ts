// All or nothing over several budgets, beside everything else that moves them, in every order and with every death.

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { ALL_INDEX, Figure, Kind, Status } from "../../../src/kernel/generated/abi.ts";
import type { KernelExports } from "../../../src/kernel/instance.ts";
import type { Call, Program } from "./explore.ts";
import { type Build, figures, ME, open, prepared, THEM, type Worlds, YOU } from "./worlds.ts";

/** What one guard is asked for; `time` is a token budget's deadline or a rate's present. */
interface Part {
  readonly handle: number;
  readonly amount: number;
  readonly time?: number;
}

const part = (handle: number, amount: number, time = 0): Part => ({ handle, amount, time });

/** The claims of a decision, made beforehand; slots in the order of `parts`, of which the last one leads the chain. */
function claimed(kernel: KernelExports, owner: number, parts: readonly Part[], firstTicket = 100): number[] {
  const sorted = descending(parts);
  const slots: number[] = [];
  for (const [index, { handle, amount, time = 0 }] of sorted.entries()) {
    const slot = kernel.allClaim(slots.at(-1) ?? -1, handle, amount, time, owner, firstTicket + index, 0);
    strictEqual(slot >= 0, true, `claim: ${slot}`);
    slots.push(slot);
  }
  return slots;
}

const descending = (parts: readonly Part[]): Part[] =>
  [...parts].sort((a, b) => (b.handle % 2 ** 20) - (a.handle % 2 ** 20));

const refusedBy = (index: number): number => Status.Exceeds + index * ALL_INDEX;

/** A decision whose claims are there already; notes its answer. */
function decide(
  kernel: KernelExports,
  owner: number,
  parts: readonly Part[],
): { program: Program; answer: () => number } {
  const slots = claimed(kernel, owner, parts);
  let answer = -1;
  return {
    program: async (call) => {
      answer = await call("allTake", slots.at(-1) ?? -1, owner, 100 + slots.length - 1);
    },
    answer: () => answer,
  };
}

/** A decision from its first claim on. @returns the answer, or the claim's */
async function whole(call: Call, owner: number, parts: readonly Part[], firstTicket = 100): Promise<number> {
  let chain = -1;
  let ticket = firstTicket - 1;
  for (const { handle, amount, time = 0 } of descending(parts)) {
    chain = await call("allClaim", chain, handle, amount, time, owner, ++ticket, 0);
    if (chain < 0) return chain;
  }
  return call("allTake", chain, owner, ticket);
}

/** Two budgets of 10, the lower slot first. */
function two(kernel: KernelExports, kind: number = Kind.Counter, capacity = 10): [number, number] {
  prepared(kernel, 3, 6);
  const handles = [open(kernel, kind, capacity, 0n), open(kernel, kind, capacity, 1n)] as const;
  return [handles[0], handles[1]];
}

const available = (kernel: KernelExports, ...handles: readonly number[]): number[] =>
  handles.map((handle) => kernel.budgetFigure(handle, Figure.Available));

/** Every hold can be had: nothing was left claimed. */
function noHoldIsLeft(kernel: KernelExports, free: number): void {
  const spare = kernel.budgetOpen(77n, 77n, Kind.Tokens, 100, THEM);
  for (let n = 0; n < free; n++) strictEqual(kernel.holdReserve(spare, 0, THEM, 900 + n, 0, 0) >= 0, true);
  strictEqual(kernel.holdReserve(spare, 0, THEM, 999, 0, 0), -Status.HoldsFull);
}

export const ALL_ORDERS: Worlds = {
  "two decisions over the same two budgets, of which one fits: one is granted whole": {
    preemptions: 3,
    build: (kernel) => {
      const [a, b] = two(kernel);
      const mine = decide(kernel, ME, [part(a, 6), part(b, 6)]);
      const yours = decide(kernel, YOU, [part(b, 6), part(a, 6)]);
      return {
        kernel,
        programs: [mine.program, yours.program],
        check() {
          const answers = [mine.answer(), yours.answer()].map((answer) => answer % ALL_INDEX);
          deepStrictEqual(
            answers.sort((x, y) => x - y),
            [Status.Ok, Status.Exceeds],
          );
          deepStrictEqual(available(kernel, a, b), [4, 4]);
          noHoldIsLeft(kernel, 6);
        },
      };
    },
  },

  "two decisions that both fit beside one that does not: neither is refused": {
    preemptions: 1,
    build: (kernel) => {
      const [a, b] = two(kernel);
      const mine = decide(kernel, ME, [part(a, 4), part(b, 4)]);
      const yours = decide(kernel, YOU, [part(a, 6), part(b, 6)]);
      const theirs = decide(kernel, THEM, [part(a, 0), part(b, 11)]);
      return {
        kernel,
        programs: [mine.program, theirs.program, yours.program],
        check() {
          deepStrictEqual(
            [mine.answer(), yours.answer(), theirs.answer()],
            [Status.Ok, Status.Ok, refusedBy(1)],
          );
          deepStrictEqual(available(kernel, a, b), [0, 0]);
          deepStrictEqual(
            [a, b].map((handle) => kernel.budgetFigure(handle, Figure.HighWater)),
            [10, 10],
          );
          noHoldIsLeft(kernel, 6);
        },
      };
    },
  },

  "a decision that is refused by its second budget beside takes of all of the first: they are granted": {
    preemptions: 2,
    build: (kernel) => {
      const [a, b] = two(kernel);
      const mine = decide(kernel, ME, [part(a, 1), part(b, 11)]);
      const answers: number[] = [];
      const take: Program = async (call) => {
        answers.push(await call("counterTake", a, 10), await call("counterTake", b, 10));
      };
      return {
        kernel,
        programs: [mine.program, take],
        check() {
          deepStrictEqual(answers, [Status.Ok, Status.Ok]);
          // Which of them said no depends on whether the first one was taken by then.
          strictEqual(mine.answer() % ALL_INDEX, Status.Exceeds);
          deepStrictEqual(available(kernel, a, b), [0, 0]);
          const denied = [a, b].map((handle) => kernel.budgetFigure(handle, Figure.Denied));
          deepStrictEqual(denied, mine.answer() === refusedBy(0) ? [1, 0] : [0, 1]);
        },
      };
    },
  },

  "takes of both budgets, one after the other, see a decision whole or not at all": {
    preemptions: 2,
    build: (kernel) => {
      const [a, b] = two(kernel, Kind.Counter, 1);
      const mine = decide(kernel, ME, [part(a, 1), part(b, 1)]);
      const answers: number[] = [];
      return {
        kernel,
        programs: [
          mine.program,
          async (call) => void answers.push(await call("counterTake", a, 1), await call("counterTake", b, 1)),
        ],
        check() {
          const granted = mine.answer() === Status.Ok;
          // The one that came first has both. A take of the second alone comes after a decision that the first refused.
          deepStrictEqual(answers, granted ? [Status.Exceeds, Status.Exceeds] : [Status.Ok, Status.Ok]);
        },
      };
    },
  },

  "the same, taken in the other order": {
    preemptions: 2,
    build: (kernel) => {
      const [a, b] = two(kernel, Kind.Counter, 1);
      const mine = decide(kernel, ME, [part(a, 1), part(b, 1)]);
      const answers: number[] = [];
      return {
        kernel,
        programs: [
          mine.program,
          async (call) => void answers.push(await call("counterTake", b, 1), await call("counterTake", a, 1)),
        ],
        check() {
          const granted = mine.answer() === Status.Ok;
          deepStrictEqual(answers, granted ? [Status.Exceeds, Status.Exceeds] : [Status.Ok, Status.Ok]);
        },
      };
    },
  },

  "a decision beside the release that it needs: conserved, whichever comes first": {
    preemptions: 2,
    build: (kernel) => {
      const [a, b] = two(kernel);
      strictEqual(kernel.counterTake(a, 6), Status.Ok);
      const mine = decide(kernel, ME, [part(a, 6), part(b, 6)]);
      const give: Program = async (call) => void (await call("counterGive", a, 6));
      return {
        kernel,
        programs: [mine.program, give],
        check() {
          const granted = mine.answer() === Status.Ok;
          if (!granted) strictEqual(mine.answer(), refusedBy(0));
          deepStrictEqual(available(kernel, a, b), granted ? [4, 4] : [10, 10]);
          strictEqual(kernel.budgetFigure(a, Figure.OverReleased), 0);
        },
      };
    },
  },

  "a decision over tokens beside a refill: its hold belongs to the epoch that it was taken in": {
    preemptions: 2,
    build: (kernel) => {
      const [a, b] = two(kernel, Kind.Tokens);
      const mine = decide(kernel, ME, [part(a, 6), part(b, 6)]);
      const refill: Program = async (call) => void (await call("counterRefill", b));
      return {
        kernel,
        programs: [mine.program, refill],
        check() {
          strictEqual(mine.answer(), Status.Ok);
          deepStrictEqual(
            available(kernel, a, b),
            [a, b].map((handle) => 10 - kernel.heldAmount(handle)),
          );
          strictEqual(kernel.holdReclaim(ME, THEM), 2);
          deepStrictEqual(available(kernel, a, b), [10, 10]);
        },
      };
    },
  },

  "a decision over tokens beside a settlement that leaves debt": {
    preemptions: 2,
    build: (kernel) => {
      const [a, b] = two(kernel, Kind.Tokens);
      const slot = kernel.holdReserve(b, 5, YOU, 1, 0, 5);
      const mine = decide(kernel, ME, [part(a, 6), part(b, 5)]);
      const settle: Program = async (call) => void (await call("holdSettle", b, slot, YOU, 1, 12, YOU));
      return {
        kernel,
        programs: [mine.program, settle],
        check() {
          const granted = mine.answer() === Status.Ok;
          if (!granted) strictEqual(mine.answer(), Status.InDebt + ALL_INDEX);
          deepStrictEqual(figures(kernel, b), { available: 0, debt: granted ? 7 : 2, consumed: 12 });
          deepStrictEqual(available(kernel, a), [granted ? 4 : 10]);
        },
      };
    },
  },

  "the last permit, wanted by itself and together with tokens: one gets it": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel, 3, 6);
      const tokens = open(kernel, Kind.Tokens, 10, 0n);
      const permits = kernel.permitOpen(1n, 1n, 0b01_01n, 0b10_10n, 0n, THEM);
      const mine = decide(kernel, ME, [part(tokens, 6), part(permits, 2)]);
      let slot = -1;
      const take: Program = async (call) => {
        slot = await call("permitTake", permits, 2, YOU, 1, 5);
      };
      return {
        kernel,
        programs: [mine.program, take],
        check() {
          const granted = mine.answer() === Status.Ok;
          strictEqual(slot, granted ? -Status.Exceeds : 5);
          strictEqual(kernel.heldAmount(tokens), granted ? 6 : 0);
          strictEqual(kernel.permitFields(permits), 0b01_01n);
          strictEqual(kernel.holdReclaim(ME, THEM) + kernel.holdReclaim(YOU, THEM), granted ? 2 : 1);
          strictEqual(kernel.permitFields(permits), 0n);
          deepStrictEqual(figures(kernel, tokens), { available: 10, debt: 0, consumed: 0 });
        },
      };
    },
  },

  "a decision never passes who waits in line for the permit that comes back": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel, 3, 6);
      const tokens = open(kernel, Kind.Tokens, 10, 0n);
      const permits = kernel.permitOpen(1n, 1n, 0b01_01n, 0b10_10n, 0n, THEM);
      const held = kernel.permitTake(permits, 2, THEM, 1, 5);
      const waiting = kernel.permitWait(permits, 2, YOU, 1, 4);
      const mine = decide(kernel, ME, [part(tokens, 6), part(permits, 2)]);
      let promoted = -1;
      return {
        kernel,
        programs: [
          mine.program,
          async (call) => {
            await call("holdSettle", permits, held, THEM, 1, 0, THEM);
            promoted = await call("permitPromote", permits, waiting, YOU, 1);
          },
        ],
        check() {
          strictEqual(promoted, Status.Ok);
          strictEqual(mine.answer() % ALL_INDEX, Status.Exceeds);
          strictEqual(kernel.heldCount(tokens), 0);
        },
      };
    },
  },

  "two decisions over a rate and a counter, with room for one in the rate": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel, 3, 6);
      const rows = open(kernel, Kind.Counter, 20, 0n);
      const rate = kernel.rateOpen(1n, 1n, 10, 10, 1_000, THEM);
      const mine = decide(kernel, ME, [part(rows, 6), part(rate, 6, 5)]);
      const yours = decide(kernel, YOU, [part(rows, 6), part(rate, 6, 5)]);
      return {
        kernel,
        programs: [mine.program, yours.program],
        check() {
          deepStrictEqual(
            [mine.answer(), yours.answer()].sort((x, y) => x - y),
            [Status.Ok, refusedBy(1)],
          );
          deepStrictEqual(available(kernel, rows), [14]);
          strictEqual(kernel.rateAvailable(rate, 5), 4);
        },
      };
    },
  },

  "a decision beside the removal of one of its budgets: the slot's successor is not touched": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel, 2, 6);
      const a = open(kernel, Kind.Counter, 10, 0n);
      const b = open(kernel, Kind.Counter, 10, 1n);
      const mine = decide(kernel, ME, [part(a, 6), part(b, 6)]);
      let successor = 0;
      return {
        kernel,
        programs: [
          mine.program,
          async (call) => {
            strictEqual(await call("budgetRemove", b, YOU), Status.Ok);
            successor = await call("budgetOpen", 3n, 3n, Kind.Counter, 7, YOU);
          },
        ],
        check() {
          const granted = mine.answer() === Status.Ok;
          if (!granted) strictEqual(mine.answer(), Status.Stale + ALL_INDEX);
          deepStrictEqual(available(kernel, a, successor), [granted ? 4 : 10, 7]);
          strictEqual(kernel.budgetFigure(successor, Figure.HighWater), 0);
        },
      };
    },
  },
};

/** The first program dies at every point at which an engine may end a thread. Nobody needs its reclaim in order to go on. */
export const ALL_DEATHS: Readonly<Record<string, Build>> = {
  "while it takes tokens, rows, a rate and a permit together": (kernel) => {
    prepared(kernel, 5, 6);
    const tokens = open(kernel, Kind.Tokens, 10, 0n);
    const rows = open(kernel, Kind.Counter, 10, 1n);
    const rate = kernel.rateOpen(2n, 2n, 10, 10, 1_000, THEM);
    const permits = kernel.permitOpen(3n, 3n, 0b01_01n, 0b10_10n, 0n, THEM);
    const parts = [part(tokens, 6), part(rows, 6), part(rate, 6, 5), part(permits, 2)];
    return {
      kernel,
      programs: [async (call) => void (await whole(call, ME, parts))],
      check() {
        const taken = available(kernel, rows)[0] === 4;
        deepStrictEqual(
          {
            tokens: available(kernel, tokens)[0],
            held: kernel.heldAmount(tokens),
            rate: kernel.rateAvailable(rate, 5),
            permits: kernel.permitFields(permits),
          },
          taken
            ? { tokens: 4, held: 6, rate: 4, permits: 0b01_01n }
            : { tokens: 10, held: 0, rate: 10, permits: 0n },
        );
        // Before anybody reclaims, the others go on: nothing is locked.
        strictEqual(kernel.counterTake(rows, taken ? 4 : 10), Status.Ok);
        strictEqual(kernel.rateTake(rate, taken ? 4 : 10, 5), Status.Ok);
        const other = kernel.holdReserve(tokens, taken ? 4 : 10, YOU, 1, 0, 5);
        strictEqual(other >= 0, true);
        strictEqual(kernel.permitTake(permits, 2, YOU, 2, 4) >= 0, !taken);
        // Afterwards holds are given back; what was taken from a counter or a rate stays taken, as after a single take.
        kernel.holdReclaim(YOU, THEM);
        strictEqual(kernel.holdReclaim(ME, THEM), taken ? 2 : 0);
        deepStrictEqual(available(kernel, tokens, rows), [10, 0]);
        strictEqual(kernel.permitFields(permits), 0n);
        noHoldIsLeft(kernel, 6);
      },
    };
  },

  "while it is refused by the second of two": (kernel) => {
    const [a, b] = two(kernel, Kind.Tokens);
    return {
      kernel,
      programs: [async (call) => void (await whole(call, ME, [part(a, 6), part(b, 11)]))],
      check() {
        deepStrictEqual(available(kernel, a, b), [10, 10]);
        strictEqual(kernel.holdReclaim(ME, THEM), 0);
        noHoldIsLeft(kernel, 6);
      },
    };
  },
};
