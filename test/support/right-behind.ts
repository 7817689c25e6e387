// Another thread's step at the one moment that matters: between a kernel call of this thread and what follows from it.

import type { Kernel } from "purser";
import type { KernelExports } from "../../src/kernel/instance.ts";

/** Has something happen right behind the kernel's first answer to a call, as another thread's step can. */
export function rightBehindFirst(kernel: Kernel, name: keyof KernelExports, step: () => void): void {
  const { exports } = kernel;
  const call = exports[name] as (...values: unknown[]) => unknown;
  let calls = 0;
  const stepped = (...values: unknown[]): unknown => {
    const answer = call(...values);
    if (calls++ === 0) step();
    return answer;
  };
  Object.assign(kernel, { exports: { ...exports, [name]: stepped } });
}
