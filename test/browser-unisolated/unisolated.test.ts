// A page without cross-origin isolation: no threads to share with, and everything works on unshared memory.

import { AtomicTokenBudget, createKernel } from "purser";
import { expect, test } from "vitest";

test("the page is not isolated, and the kernel is for one thread by default", () => {
  expect(globalThis.crossOriginIsolated).toBe(false);
  const kernel = createKernel();
  expect(kernel.shared).toBe(false);
  expect(new AtomicTokenBudget(10, { kernel }).tryReserveTokens(10)).not.toBeNull();
});

test("asking for shared memory all the same says what is missing", () => {
  expect(() => createKernel({ shared: true })).toThrow(/cross-origin isolated/);
});
