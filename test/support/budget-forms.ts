// The forms a budget comes in: the same suites run over all of them, because a caller must not feel the difference.

import { AtomicBudget, AtomicTokenBudget, type BudgetOptions, createKernel } from "purser";

export interface BudgetForm {
  readonly form: string;
  counted(capacity: number): AtomicBudget;
  tokens(capacity: number): AtomicTokenBudget;
}

let names = 0;
const named = (options: () => BudgetOptions): Omit<BudgetForm, "form"> => ({
  counted: (capacity) => new AtomicBudget(capacity, options()),
  tokens: (capacity) => new AtomicTokenBudget(capacity, options()),
});

export const BUDGET_FORMS: readonly BudgetForm[] = [
  { form: "private", ...named(() => ({})) },
  { form: "in a kernel, without a name", ...named(() => ({ kernel: createKernel({ holds: 64 }) })) },
  {
    form: "with thread credit",
    ...named(() => ({ kernel: createKernel({ holds: 64 }) })),
    counted: (capacity) => new AtomicBudget(capacity, { kernel: createKernel({ holds: 64 }), credit: 8 }),
  },
  { form: "shared by name", ...named(() => ({ name: `a form's budget ${names++}` })) },
];
