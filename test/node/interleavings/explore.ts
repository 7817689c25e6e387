// Runs a few short programs on the real kernel under every order of their atomic steps (or every order with at most so
// many preemptions), and kills a program at every point at which an engine could. Needs Node with --experimental-wasm-jspi.

import { readFileSync } from "node:fs";
import { instantiate, type KernelExports } from "../../../src/kernel/instance.ts";
import { instrumentedKernel } from "./instrument.ts";

/** Promise Integration, which TypeScript's library does not know yet. */
interface PromiseIntegration {
  Suspending: new (call: () => Promise<void> | undefined) => WebAssembly.ImportValue;
  promising(call: (...values: never[]) => unknown): (...values: unknown[]) => Promise<unknown>;
}
const integration = WebAssembly as unknown as PromiseIntegration;

/** A kernel call that can be stopped. */
export type Call = <Name extends keyof KernelExports>(
  name: Name,
  ...values: Parameters<KernelExports[Name]>
) => Promise<ReturnType<KernelExports[Name]>>;

export type Program = (call: Call) => Promise<void>;

export interface World {
  /** The kernel as it is, for setting up and looking. */
  readonly kernel: KernelExports;
  readonly programs: readonly Program[];
  /** Throws if the world is not as it must be, in any order. */
  check(): void;
}

class Actor {
  resume: (() => void) | undefined;
  /** How many steps of its present call it has made without another program between. */
  stepsInARow = 0;
  finished = false;
  error: unknown;
  #stopped: (() => void) | undefined;

  /** Called when the program is stopped or ends. */
  report(): void {
    this.#stopped?.();
  }

  /** Lets the program go on to its next stop. */
  async advance(go: () => void): Promise<void> {
    const stopped = new Promise<void>((resolve) => {
      this.#stopped = resolve;
    });
    go();
    await stopped;
  }
}

const module = instrumentedKernel();
const plain = new WebAssembly.Module(
  readFileSync(new URL("../../../build/kernel.shared.wasm", import.meta.url)),
);
/** More than any single call takes without waiting. */
const STEPS_IN_A_ROW_MAX = 80;
const MEMORY = { initial: 1, maximum: 1, shared: true };

export class Explorer {
  readonly #memory = new WebAssembly.Memory(MEMORY);
  readonly #blank: Uint8Array;
  readonly kernel: KernelExports = instantiate(this.#memory, plain);
  readonly #exports: KernelExports;
  readonly #stoppable = new Map<keyof KernelExports, (...values: unknown[]) => Promise<unknown>>();
  #current: Actor | undefined;
  /** Where programs can be stopped now, and whether the one that has come there goes on: it is not suspended then. */
  #stopAt: "step" | "interrupt" = "step";
  #goesOn: (actor: Actor) => boolean = () => true;

  constructor() {
    const stop = (kind: "step" | "interrupt") =>
      new integration.Suspending(() => {
        const actor = this.#current;
        if (actor === undefined || kind !== this.#stopAt || this.#goesOn(actor)) return undefined;
        return new Promise<void>((resolve) => {
          actor.resume = resolve;
          actor.report();
        });
      });
    const env = { memory: this.#memory, step: stop("step"), interrupt: stop("interrupt") };
    this.#exports = new WebAssembly.Instance(module, { env }).exports as unknown as KernelExports;
    this.#blank = new Uint8Array(this.#memory.buffer).slice();
  }

  /** Every order with at most `preemptions` switches away from a program that could go on. @returns how many orders */
  async everyOrder(
    build: (kernel: KernelExports, words: Int32Array) => World,
    preemptions = Number.POSITIVE_INFINITY,
  ): Promise<number> {
    this.#stopAt = "step";
    let orders = 0;
    for (let path: number[] | undefined = []; path !== undefined; orders++) {
      const choices = await this.#run(build, path, preemptions);
      path = nextPath(path, choices);
    }
    return orders;
  }

  /** Kills the first program at its k-th interrupt, for every k; `check` sees the world after each. @returns how many */
  async everyDeath(build: (kernel: KernelExports, words: Int32Array) => World): Promise<number> {
    this.#stopAt = "interrupt";
    for (let deaths = 0; ; deaths++) {
      const world = this.#begin(build);
      const [actor] = this.#start(world);
      if (actor === undefined) throw new Error("a world needs a program");
      let stops = 0;
      this.#goesOn = () => stops++ < deaths;
      await this.#advance(actor);
      this.#current = undefined;
      world.check();
      if (actor.finished) return deaths;
    }
  }

  #begin(build: (kernel: KernelExports, words: Int32Array) => World): World {
    new Uint8Array(this.#memory.buffer).set(this.#blank);
    return build(this.kernel, new Int32Array(this.#memory.buffer));
  }

  #start(world: World): Actor[] {
    return world.programs.map((program) => {
      const actor = new Actor();
      const call: Call = async (name, ...values) => {
        actor.stepsInARow = 0;
        return (await this.#promising(name)(...values)) as never;
      };
      actor.resume = () => {
        program(call)
          .catch((error: unknown) => {
            actor.error = error;
          })
          .finally(() => {
            actor.finished = true;
            actor.report();
          });
      };
      return actor;
    });
  }

  #promising(name: keyof KernelExports): (...values: unknown[]) => Promise<unknown> {
    const known = this.#stoppable.get(name);
    if (known !== undefined) return known;
    const made = integration.promising(this.#exports[name] as (...inputs: never[]) => unknown);
    this.#stoppable.set(name, made);
    return made;
  }

  async #advance(actor: Actor): Promise<void> {
    this.#current = actor;
    const { resume } = actor;
    if (resume === undefined) throw new Error("the program is not stopped");
    actor.resume = undefined;
    await actor.advance(resume);
    if (actor.error !== undefined) throw actor.error;
  }

  /** One order: follows `path`, then always the first choice. @returns how many choices there were each time */
  async #run(
    build: (kernel: KernelExports, words: Int32Array) => World,
    path: readonly number[],
    preemptions: number,
  ): Promise<readonly number[]> {
    const world = this.#begin(build);
    const schedule = new Schedule(this.#start(world), path, preemptions);
    let next = schedule.next();
    this.#goesOn = (actor) => {
      next = schedule.next();
      return next === actor;
    };
    while (next !== undefined) {
      await this.#advance(next);
      if (next.finished) next = schedule.next();
    }
    this.#current = undefined;
    try {
      world.check();
    } catch (error) {
      const order = path.join("").replace(/0+$/, "");
      throw new Error(`order ${order}…: ${(error as Error).message}`, { cause: error });
    }
    return schedule.choices;
  }
}

/** Who makes the next step, and what else there was to choose. */
class Schedule {
  /** How many there were to choose from, each time. */
  readonly choices: number[] = [];
  readonly #path: readonly number[];
  readonly #preemptions: number;
  #running: readonly Actor[];
  #last: Actor | undefined;
  #switches = 0;
  /** Who waited in vain: two of them would else take turns for ever, in ever longer orders. */
  readonly #stuck = new Set<Actor>();

  constructor(actors: readonly Actor[], path: readonly number[], preemptions: number) {
    this.#running = actors;
    this.#path = path;
    this.#preemptions = preemptions;
  }

  /** @returns undefined when all have finished */
  next(): Actor | undefined {
    const last = this.#last;
    if (last?.finished === true) this.#running = this.#running.filter((actor) => actor !== last);
    const running = this.#running;
    if (running.length === 0) return undefined;
    // Whoever ran last stands first, so that choice 0 never preempts; but who has been running for so long is waiting
    // for somebody, and a scheduler that never let that one run would be no scheduler.
    const canGoOn = last !== undefined && !last.finished && last.stepsInARow < STEPS_IN_A_ROW_MAX;
    if (last !== undefined && last.stepsInARow >= STEPS_IN_A_ROW_MAX) this.#stuck.add(last);
    if (this.#stuck.size > 0 && running.every((actor) => this.#stuck.has(actor))) this.#stuck.clear();
    const choice = this.#path[this.choices.length] ?? 0;
    if (canGoOn && choice === 0) {
      this.choices.push(this.#switches >= this.#preemptions ? 1 : running.length);
      last.stepsInARow += 1;
      return last;
    }
    const others = running.filter((actor) => actor !== last && (canGoOn || !this.#stuck.has(actor)));
    const order = canGoOn ? [last, ...others] : others.length > 0 ? others : running;
    this.choices.push(canGoOn && this.#switches >= this.#preemptions ? 1 : order.length);
    if (canGoOn && choice > 0) this.#switches += 1;
    const next = order[choice] as Actor;
    if (next !== last && canGoOn) this.#stuck.clear();
    next.stepsInARow = next === last ? next.stepsInARow + 1 : 0;
    this.#last = next;
    return next;
  }
}

/** The next path in depth-first order, or undefined after the last. */
function nextPath(path: readonly number[], choices: readonly number[]): number[] | undefined {
  const open = choices.findLastIndex((count, step) => (path[step] ?? 0) + 1 < count);
  if (open < 0) return undefined;
  return Array.from({ length: open + 1 }, (_, step) => (path[step] ?? 0) + (step === open ? 1 : 0));
}
