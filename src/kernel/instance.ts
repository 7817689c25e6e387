// The boundary: the kernel's exports as TypeScript sees them, and the one place that instantiates it.
// Invariant: what is called here is exactly what assembly/index.ts and assembly/accounts.ts export. Amounts, handles, owners and times cross as
// plain numbers, int64 as BigInt. Who may call: this folder.

import { accountsModule, kernelModule } from "./artefacts.ts";

/** Handles and figures that are negative are `-Status`. */
export interface KernelExports {
  initialise(budgets: number, holds: number): number;
  attach(): number;
  ownerIssue(): number;
  ownerPrepare(): number;
  ownerAttach(owner: number): number;
  budgetsInitialised(): number;
  holdsInitialised(): number;

  budgetOpen(keyHigh: bigint, keyLow: bigint, kind: number, capacity: number, owner: number): number;
  budgetFind(keyHigh: bigint, keyLow: bigint, kind: number): number;
  budgetRemove(handle: number, owner: number): number;
  tenantOpen(keyHigh: bigint, keyLow: bigint, capacity: number, group: bigint, owner: number): number;
  budgetRemoveIdle(handle: number, owner: number): number;
  budgetCount(): number;
  budgetFigure(handle: number, figure: number): number;

  counterTake(handle: number, amount: number): number;
  counterFit(handle: number, least: number, most: number): number;
  counterGive(handle: number, amount: number): number;
  counterGrant(handle: number, amount: number): number;
  counterRefill(handle: number): number;

  creditOpen(keyHigh: bigint, keyLow: bigint, capacity: number, credit: number, owner: number): number;
  creditJoin(handle: number, owner: number, ticket: number, hint: number): number;
  creditMove(handle: number, delta: number, cell: number): number;
  creditFit(handle: number, least: number, most: number, cell: number): number;

  holdReserve(
    handle: number,
    amount: number,
    owner: number,
    ticket: number,
    deadlineMs: number,
    hint: number,
  ): number;
  holdFit(slot: number, owner: number, ticket: number, least: number): number;
  holdSettle(
    handle: number,
    slot: number,
    owner: number,
    ticket: number,
    actual: number,
    settler: number,
  ): number;
  holdAdjust(
    handle: number,
    slot: number,
    owner: number,
    ticket: number,
    delta: number,
    adjuster: number,
  ): number;
  budgetAdjust(handle: number, delta: number, adjuster: number): number;
  holdExpire(nowMs: number, settler: number): number;
  holdReclaim(owner: number, settler: number): number;
  heldAmount(handle: number): number;
  heldCount(handle: number): number;

  permitOpen(
    keyHigh: bigint,
    keyLow: bigint,
    limits: bigint,
    guards: bigint,
    names: bigint,
    owner: number,
  ): number;
  permitTake(handle: number, shift: number, owner: number, ticket: number, hint: number): number;
  permitWait(handle: number, shift: number, owner: number, ticket: number, hint: number): number;
  permitPromote(handle: number, slot: number, owner: number, ticket: number): number;
  permitCancel(handle: number, slot: number, owner: number, ticket: number): number;
  permitFields(handle: number): bigint;
  permitWaiting(handle: number, shift: number): number;

  rateOpen(
    keyHigh: bigint,
    keyLow: bigint,
    burst: number,
    limit: number,
    window: number,
    owner: number,
  ): number;
  rateTake(handle: number, cost: number, nowMs: number): number;
  rateFit(handle: number, least: number, most: number, nowMs: number): number;
  rateGive(handle: number, cost: number): number;
  rateWait(handle: number, cost: number, nowMs: number): number;
  rateAvailable(handle: number, nowMs: number): number;

  allClaim(
    chain: number,
    handle: number,
    amount: number,
    timeMs: number,
    owner: number,
    ticket: number,
    hint: number,
  ): number;
  allTake(slot: number, owner: number, ticket: number): number;
}

/** The authority's arithmetic; assembly/accounts.ts exports it. */
export interface AccountExports {
  accountPut(
    index: number,
    allocated: bigint,
    spent: bigint,
    reserved: bigint,
    debt: bigint,
    overdraftLimit: bigint,
    mark: number,
    state: number,
  ): number;
  accountFigure(index: number, figure: number): bigint;
  accountFund(operation: number, amount: bigint, spent: bigint): number;
  pathReserve(count: number, amount: bigint): number;
  pathRelease(count: number, estimate: bigint): number;
  pathCommit(count: number, estimate: bigint, actual: bigint, overage: number): number;
  pathRefund(count: number, amount: bigint): number;
  pathEvent(count: number, actual: bigint, overage: number): number;
  pathCharged(): bigint;
  pathIndex(): number;
}

/** In a page without cross-origin isolation the global SharedArrayBuffer does not exist, so no `instanceof`. */
export function isShared(memory: WebAssembly.Memory): boolean {
  return Object.prototype.toString.call(memory.buffer) === "[object SharedArrayBuffer]";
}

/** Links the kernel with a memory. `module` stands in for the package's own artefact. */
export function instantiate(memory: WebAssembly.Memory, module?: WebAssembly.Module): KernelExports {
  const instance = new WebAssembly.Instance(module ?? kernelModule(isShared(memory)), { env: { memory } });
  return instance.exports as unknown as KernelExports;
}

/** Each instance has a page of memory of its own. */
export function instantiateAccounts(): AccountExports {
  return new WebAssembly.Instance(accountsModule()).exports as unknown as AccountExports;
}
