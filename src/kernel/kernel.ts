// A kernel: one memory full of budgets and holds, as one thread sees it.
// Invariant: each Kernel object has an owner id of its own, and no two holds of one owner share a ticket; that pair is
// what makes a hold's identity unique for good. Who may call: anybody; `exports` is for src/budgets and its like.

import { checkInteger, checkObject, invalidArgument, invalidType } from "../arguments.ts";
import { DISPOSE } from "../dispose.ts";
import {
  BudgetMismatchError,
  BudgetRemovedError,
  KernelBusyError,
  KernelFullError,
  KernelMemoryError,
} from "../errors.ts";
import { hasSharedArtefact } from "./artefacts.ts";
import {
  BUDGETS_MAX,
  COUNTER_BYTES,
  HEADER_BYTES,
  HEADER_LOCK,
  HOLD_BYTES,
  HOLDS_MAX,
  OWNERS_MAX,
  PENDING_BYTES,
  PENDING_MAX,
} from "./generated/abi.ts";
import * as Status from "./generated/Status.ts";
import { instantiate, isShared, type KernelExports } from "./instance.ts";
import { directoryKey } from "./name.ts";
import { abandonSupplies } from "./supply.ts";
import { wakeWaiters } from "./waiting.ts";

export interface KernelOptions {
  /** Whether threads can share it. Default: what the runtime allows. */
  readonly shared?: boolean;
  /** How many budgets fit, 1 … 2^20. Default 1,024; each takes 128 bytes. */
  readonly budgets?: number;
  /** How many reservations can be open at once, 1 … 2^22. Default 4,096; each takes 64 bytes. */
  readonly holds?: number;
  /** A memory to use instead of a new one: fresh (all zeros), or initialised with the same capacities. */
  readonly memory?: WebAssembly.Memory;
  /** A compiled kernel to use instead of the package's own, for hosts that load wasm their own way. */
  readonly module?: WebAssembly.Module;
}

export interface AttachOptions {
  /** An owner id from {@link Kernel.issueOwner}, so that whoever issued it can reclaim after this thread. */
  readonly owner?: number;
  readonly module?: WebAssembly.Module;
}

const BUDGETS_DEFAULT = 1_024;
/** @internal */
export const HOLDS_DEFAULT = 4_096;
const PAGE_BYTES = 65_536;

/** A second of sleeps where threads may sleep, some tens of milliseconds of looking where they may not. */
const DIRECTORY_TRIES_MAX = 1_000;
const DIRECTORY_WAIT_MS = 1;

/**
 * Makes a kernel, synchronously.
 *
 * @throws RangeError, TypeError for a bad option
 * @throws KernelMemoryError if shared memory is asked for where there is none, or `memory` cannot serve
 */
export function createKernel(options: KernelOptions = {}): Kernel {
  checkObject("options", options);
  const { budgets = BUDGETS_DEFAULT, holds = HOLDS_DEFAULT } = options;
  checkInteger("budgets", budgets, 1, BUDGETS_MAX);
  checkInteger("holds", holds, 1, HOLDS_MAX);
  const { shared = canShare() } = options;
  if (typeof shared !== "boolean") throw invalidType("shared", "a boolean", shared);
  const { memory = newMemory(shared, budgets, holds) } = options;
  checkMemory(memory);
  if (options.shared !== undefined && options.shared !== isShared(memory)) {
    throw new KernelMemoryError(
      `shared is ${options.shared}, but the given memory is ${isShared(memory) ? "" : "not "}shared`,
    );
  }
  const exports = link(memory, options.module);
  checkMemoryStatus(exports.initialise(budgets, holds), `budgets: ${budgets}, holds: ${holds}`);
  return new Kernel(memory, exports, issueOwner(exports));
}

/**
 * The same kernel in another thread: `memory` is the `kernel.memory` that was posted here.
 *
 * @throws KernelMemoryError if no kernel lives in it, or one of another version
 */
export function attachKernel(memory: WebAssembly.Memory, options: AttachOptions = {}): Kernel {
  checkMemory(memory);
  const exports = link(memory, options.module);
  checkMemoryStatus(exports.attach(), "attach");
  const { owner } = options;
  if (owner === undefined) return new Kernel(memory, exports, issueOwner(exports));
  checkInteger("owner", owner, 1, OWNERS_MAX);
  if (exports.ownerAttach(owner) !== Status.Ok) {
    throw invalidArgument("owner", "an id from issueOwner that no thread has yet", owner);
  }
  return new Kernel(memory, exports, owner);
}

let processKernel: Kernel | undefined;

/** The kernel of named budgets that name no kernel: one per realm (page, thread, isolate), made at first use. */
export function defaultKernel(): Kernel {
  processKernel ??= createKernel();
  return processKernel;
}

/** @internal Opens something in the kernel that the options name, or in the default one, where it needs a name. */
export function openIn(
  {
    kernel = defaultKernel(),
    name = kernel.privateName(),
  }: { readonly kernel?: Kernel; readonly name?: string },
  open: (kernel: Kernel, name: string) => number,
): { kernel: Kernel; handle: number } {
  return { kernel, handle: open(kernel, name) };
}

/** One thread's view of a kernel. Make it with {@link createKernel} or {@link attachKernel}. */
export class Kernel implements Disposable {
  /** Post it to another thread and attach it there. Whoever has it can write any budget in it. */
  readonly memory: WebAssembly.Memory;
  readonly shared: boolean;
  /** This thread's id in the kernel, never given out twice. */
  readonly owner: number;
  /** Capacities, in records. */
  readonly budgets: number;
  readonly holds: number;
  /** @internal */
  readonly exports: KernelExports;
  /** @internal The memory as words, for what threads watch and wait on. */
  readonly words: Int32Array;
  /** @internal What frees slots that nobody needs; a tracker sets it, so that who has none does not carry it. */
  makeRoom: (() => void) | undefined;

  #tickets = 0;
  #anonymous = 0;
  /** Where to look for a free hold first; only speed depends on it. */
  #slotHint: number;
  #unreachable: FinalizationRegistry<number> | undefined;

  /** @internal */
  constructor(memory: WebAssembly.Memory, exports: KernelExports, owner: number) {
    this.memory = memory;
    this.exports = exports;
    this.owner = owner;
    this.shared = isShared(memory);
    this.words = new Int32Array(memory.buffer);
    this.budgets = exports.budgetsInitialised();
    this.holds = exports.holdsInitialised();
    // Threads begin to look for free holds in different places.
    this.#slotHint = (owner * 61) % this.holds;
  }

  /**
   * An owner id for one thread that will attach with it, so that it can be reclaimed whenever it dies.
   * @throws KernelFullError after 2^20−1 ids, or while 256 of them wait for their threads
   */
  issueOwner(): number {
    const owner = this.exports.ownerPrepare();
    if (owner > 0) return owner;
    throw new KernelFullError("threads", owner === -Status.PendingFull ? PENDING_MAX : OWNERS_MAX);
  }

  /**
   * Gives back everything that a thread held that has ended: terminated, crashed or gone. Never for one that may still
   * run: under Node wait for the thread's `exit` event; in a page, where `terminate()` does not say when it is done, let
   * the thread hold a Web Lock and wait for that lock. Looks at every hold.
   *
   * @returns how many reservations were given back
   */
  reclaim(owner: number): number {
    checkInteger("owner", owner, 1, OWNERS_MAX);
    const reclaimed = this.patiently(-Status.Busy, () => this.exports.holdReclaim(owner, this.owner));
    if (reclaimed < 0) throw invalidArgument("owner", "an id that this kernel has issued", owner);
    abandonSupplies(this, owner);
    this.wakeWaiters();
    return reclaimed;
  }

  /**
   * Gives back every reservation that expires at or before `nowMs`, in the clock that set its `expiresAtMs`.
   * Looks at every hold. @returns how many
   */
  expire(nowMs: number): number {
    checkInteger("nowMs", nowMs, 0, Number.MAX_SAFE_INTEGER);
    return this.exports.holdExpire(nowMs, this.owner);
  }

  /** Gives back this thread's open reservations. Calling it again does nothing more. */
  close(): void {
    this.patiently(-Status.Busy, () => this.exports.holdReclaim(this.owner, this.owner));
    this.wakeWaiters();
  }

  [DISPOSE](): void {
    this.close();
  }

  /** @internal A name that nobody else can ask for: no caller's name begins with a NUL. */
  privateName(): string {
    return `\0${this.owner}/${this.#anonymous++}`;
  }

  /** @internal Opens or creates what `ask` says, under a name. @returns its handle */
  open(what: string, name: string, ask: (keyHigh: bigint, keyLow: bigint) => number): number {
    const { high, low } = directoryKey(name);
    const tryOpen = (): number => this.patiently(-Status.Busy, () => ask(high, low));
    let handle = tryOpen();
    if (handle === -Status.BudgetsFull && this.makeRoom !== undefined) {
      this.makeRoom();
      handle = tryOpen();
    }
    if (handle < 0) throw this.failure(-handle, `${what} ${JSON.stringify(name)}`);
    return handle;
  }

  /** @internal Opens or creates a budget; with `credit` a counter whose threads have slices of so much. */
  openBudget(kind: number, capacity: number, name: string, credit?: number): number {
    const { exports, owner } = this;
    return this.open("budget", name, (high, low) =>
      credit === undefined
        ? exports.budgetOpen(high, low, kind, capacity, owner)
        : exports.creditOpen(high, low, capacity, credit, owner),
    );
  }

  /** @internal @returns a status */
  removeBudget(handle: number): number {
    return this.patiently(Status.Busy, () => this.exports.budgetRemove(handle, this.owner));
  }

  /**
   * @internal Asks again while another thread is in the directory or adjusts the hold in question, which takes
   * microseconds if that thread runs. In between it sleeps where it may; a page's main thread may not. `busy` is the
   * answer that means so: a status or, where numbers are answered, its negative.
   * @throws KernelBusyError after a second of it
   */
  patiently(busy: number, ask: () => number): number {
    const lock = HEADER_LOCK / 4;
    for (let tries = 0; tries < DIRECTORY_TRIES_MAX; tries++) {
      const answer = ask();
      if (answer !== busy) return answer;
      try {
        Atomics.wait(this.words, lock, Atomics.load(this.words, lock), DIRECTORY_WAIT_MS);
      } catch {
        // Not allowed here: look again.
      }
    }
    throw new KernelBusyError(Atomics.load(this.words, lock));
  }

  /** @internal Settles a hold. @returns a status */
  settle(handle: number, slot: number, owner: number, ticket: number, actual: number): number {
    const status = this.exports.holdSettle(handle, slot, owner, ticket, actual, this.owner);
    if (status !== Status.Busy) return status;
    return this.patiently(Status.Busy, () =>
      this.exports.holdSettle(handle, slot, owner, ticket, actual, this.owner),
    );
  }

  /**
   * @internal Frees an anonymous budget's slot after `budget` became unreachable. Memory management, not accounting:
   * nobody can name such a budget. `budget` is what every open reservation, permit or wait of it keeps reachable: for a
   * governor its line.
   */
  removeWhenUnreachable(budget: object, handle: number): void {
    if (typeof FinalizationRegistry !== "function") return; // Workers before 2025-05-05: the slot stays taken
    this.#unreachable ??= new FinalizationRegistry((unreachable) => {
      this.exports.budgetRemove(unreachable, this.owner);
    });
    this.#unreachable.register(budget, handle);
  }

  /** @internal A ticket that this owner never used before. */
  nextTicket(): number {
    return ++this.#tickets;
  }

  /** @internal A hold slot that is probably free: the one freed last, then the next ones in turn. */
  slotHint(): number {
    const hint = this.#slotHint;
    this.#slotHint = hint + 1 === this.holds ? 0 : hint + 1;
    return hint;
  }

  /** @internal */
  slotFreed(slot: number): void {
    this.#slotHint = slot;
  }

  /** @internal Tells everybody who watches that a permit came back or a line moved. */
  wakeWaiters(): void {
    wakeWaiters(this);
  }

  /** @internal The error for a status that is no decision. */
  failure(status: number, subject: string): Error {
    switch (status) {
      case Status.BudgetsFull:
        return new KernelFullError("budgets", this.budgets);
      case Status.HoldsFull:
        return new KernelFullError("holds", this.holds);
      case Status.Stale:
        return new BudgetRemovedError();
      case Status.WrongKind:
        return new BudgetMismatchError(
          `${subject} exists and is of another kind, or differs in having credit`,
        );
      case Status.Mismatch:
        return new BudgetMismatchError(`${subject} exists and was opened with another capacity or credit`);
      default:
        return new Error(`kernel status ${status} for ${subject}: a bug in purser`);
    }
  }
}

/** Shared memory needs threads to share it with, and in a page cross-origin isolation. */
function canShare(): boolean {
  const isolated = (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated;
  return hasSharedArtefact() && typeof SharedArrayBuffer === "function" && isolated !== false;
}

function newMemory(shared: boolean, budgets: number, holds: number): WebAssembly.Memory {
  const bytes = HEADER_BYTES + PENDING_BYTES + budgets * COUNTER_BYTES + holds * HOLD_BYTES;
  const pages = Math.ceil(bytes / PAGE_BYTES);
  if (shared && (!hasSharedArtefact() || typeof SharedArrayBuffer !== "function")) {
    throw new KernelMemoryError("shared: true needs shared memory; a page must be cross-origin isolated");
  }
  // Initial and maximum agree, so the memory never grows and no view of it ever goes stale.
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
}

function checkMemory(memory: unknown): asserts memory is WebAssembly.Memory {
  if (!(memory instanceof WebAssembly.Memory)) throw invalidType("memory", "a WebAssembly.Memory", memory);
}

function link(memory: WebAssembly.Memory, module: WebAssembly.Module | undefined): KernelExports {
  try {
    return instantiate(memory, module);
  } catch (error) {
    if (!(error instanceof Error) || error.name !== "LinkError") throw error;
    throw new KernelMemoryError(`memory cannot serve a kernel: ${error.message}`);
  }
}

function checkMemoryStatus(status: number, asked: string): void {
  if (status === Status.Ok) return;
  const reasons = new Map<number, string>([
    [Status.NotInitialised, "no kernel lives in this memory: make it with createKernel"],
    [Status.LayoutMismatch, "this memory holds something else, or a kernel of another version"],
    [Status.CapacityMismatch, `this memory is too small, or has other capacities than ${asked}`],
  ]);
  throw new KernelMemoryError(reasons.get(status) ?? `kernel status ${status}: a bug in purser`);
}

function issueOwner(exports: KernelExports): number {
  const owner = exports.ownerIssue();
  if (owner < 0) throw new KernelFullError("threads", OWNERS_MAX);
  return owner;
}
