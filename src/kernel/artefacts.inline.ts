// The wasm as inline bytes, for Node, browsers and bundlers: compiled at first use, synchronously.
// The two kernels differ in one byte, so only one of them is carried.

import type { KernelArtefacts } from "./artefacts.ts";
import { ACCOUNTS_TEXT, KERNEL_TEXT, MEMORY_FLAG_OFFSET } from "./generated/bytes.ts";
import { decodeWasm } from "./wasm-text.ts";

const LIMITS_WITH_SHARED_FLAG = 3;

let unshared: WebAssembly.Module | undefined;
let shared: WebAssembly.Module | undefined;

export const inlineArtefacts: KernelArtefacts = {
  unshared() {
    unshared ??= new WebAssembly.Module(decodeWasm(KERNEL_TEXT));
    return unshared;
  },
  shared() {
    if (shared === undefined) {
      const patched = decodeWasm(KERNEL_TEXT);
      patched[MEMORY_FLAG_OFFSET] = LIMITS_WITH_SHARED_FLAG;
      shared = new WebAssembly.Module(patched);
    }
    return shared;
  },
};

let accounts: WebAssembly.Module | undefined;

export function inlineAccounts(): WebAssembly.Module {
  accounts ??= new WebAssembly.Module(decodeWasm(ACCOUNTS_TEXT));
  return accounts;
}
