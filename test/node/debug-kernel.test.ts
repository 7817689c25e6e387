// The same suites over the unoptimised kernel: what holds only because of the optimiser would show here.

import { readFileSync } from "node:fs";
import "purser";
import "purser/ledger";
import { installAccounts, installArtefacts } from "../../src/kernel/artefacts.ts";

const read = (name: string) => Uint8Array.from(readFileSync(new URL(`../../build/${name}`, import.meta.url)));

function debugModule(memoryFlag: number): WebAssembly.Module {
  const bytes = read("kernel.debug.wasm");
  const mark = Buffer.from("\u0003env\u0006memory\u0002", "latin1");
  bytes[Buffer.from(bytes).indexOf(mark) + mark.length] = memoryFlag;
  return new WebAssembly.Module(bytes);
}

const accounts = new WebAssembly.Module(read("accounts.debug.wasm"));
installAccounts(() => accounts);
installArtefacts({ unshared: () => debugModule(1), shared: () => debugModule(3) });

await import("../shared/budgets/seed-000.test.ts");
await import("../shared/budgets/token-budget-model.test.ts");
await import("../shared/budgets/atomic-budget-model.test.ts");
await import("../shared/kernel/abi.test.ts");
await import("../shared/kernel/accounts.test.ts");
await import("../shared/kernel/kernel.test.ts");
