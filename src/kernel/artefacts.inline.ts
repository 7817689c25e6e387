// The wasm as inline bytes, for Node, browsers and bundlers: compiled at first use, synchronously.
// The two kernels differ in one byte, so only one of them is carried.

import type { KernelArtefacts } from "./artefacts.ts";
import { ACCOUNTS_HEX, KERNEL_HEX, MEMORY_FLAG_OFFSET } from "./generated/bytes.ts";

const LIMITS_WITH_SHARED_FLAG = 3;

function bytes(hex: string): Uint8Array<ArrayBuffer> {
  const pairs = hex.match(/../g) ?? [];
  return Uint8Array.from(pairs, (pair) => Number.parseInt(pair, 16));
}

let unshared: WebAssembly.Module | undefined;
let shared: WebAssembly.Module | undefined;

export const inlineArtefacts: KernelArtefacts = {
  unshared() {
    unshared ??= new WebAssembly.Module(bytes(KERNEL_HEX));
    return unshared;
  },
  shared() {
    if (shared === undefined) {
      const patched = bytes(KERNEL_HEX);
      patched[MEMORY_FLAG_OFFSET] = LIMITS_WITH_SHARED_FLAG;
      shared = new WebAssembly.Module(patched);
    }
    return shared;
  },
};

let accounts: WebAssembly.Module | undefined;

export function inlineAccounts(): WebAssembly.Module {
  accounts ??= new WebAssembly.Module(bytes(ACCOUNTS_HEX));
  return accounts;
}
