// Where the wasm comes from. The two entries of the package differ in nothing but what they install here, because
// Workers can only import a compiled module and everybody else wants no fetch and no promise.
// Who may call: the entries, once, before anything else; instance.ts.
// There are two: the kernel, for whoever spends, and the authority's arithmetic, for whoever keeps accounts.

/** Gives compiled modules; `shared` is absent where threads do not exist. */
export interface KernelArtefacts {
  unshared(): WebAssembly.Module;
  shared?(): WebAssembly.Module;
}

let installed: KernelArtefacts | undefined;

export function installArtefacts(artefacts: KernelArtefacts): void {
  installed = artefacts;
}

/** Whether this entry can serve shared memory at all. */
export function hasSharedArtefact(): boolean {
  return installed?.shared !== undefined;
}

/** The compiled kernel for shared or unshared memory. */
export function kernelModule(shared: boolean): WebAssembly.Module {
  const module = shared ? installed?.shared?.() : installed?.unshared();
  if (module === undefined)
    throw new Error(`this entry of purser has no kernel for ${shared ? "" : "un"}shared memory`);
  return module;
}

let accounts: (() => WebAssembly.Module) | undefined;

export function installAccounts(artefact: () => WebAssembly.Module): void {
  accounts = artefact;
}

/** The compiled arithmetic of accounts. */
export function accountsModule(): WebAssembly.Module {
  if (accounts === undefined) throw new Error("only purser/ledger has the arithmetic of accounts");
  return accounts();
}
