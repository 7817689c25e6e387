// Where rates and governors live that have neither name nor kernel: nobody can name them, so they need no slot of the default
// kernel. Invariant: what is opened here never runs out of slots, and a governor never of holds for its permits. Who may call:
// RateBudget and ConcurrencyGovernor. Apart from kernel.ts, so that who has neither does not carry it.

import { KernelFullError } from "../errors.ts";
import { createKernel, HOLDS_DEFAULT, type Kernel, openIn } from "./kernel.ts";

let current: Kernel | undefined;
/** How many of its holds nobody was promised. */
let holdsLeft = 0;

/**
 * @internal Opens something in the kernel that the options name, in the default one by its name, or here. Slots come back by
 * garbage collection, which may be late, and promised holds do not come back: a full kernel is followed by a fresh one.
 *
 * @param holds how many it has at most at once, if it is opened here
 */
export function openInOrPrivately(
  options: { readonly kernel?: Kernel; readonly name?: string },
  open: (kernel: Kernel, name: string) => number,
  holds = 0,
): { kernel: Kernel; handle: number } {
  if (options.kernel !== undefined || options.name !== undefined) return openIn(options, open);
  let opened: { kernel: Kernel; handle: number };
  try {
    opened = openIn({ kernel: current === undefined || holds > holdsLeft ? fresh(holds) : current }, open);
  } catch (error) {
    if (!(error instanceof KernelFullError) || error.option !== "budgets") throw error;
    opened = openIn({ kernel: fresh(holds) }, open);
  }
  holdsLeft -= holds;
  return opened;
}

function fresh(holds: number): Kernel {
  holdsLeft = Math.max(HOLDS_DEFAULT, holds);
  current = createKernel({ holds: holdsLeft });
  return current;
}
