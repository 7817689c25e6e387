// Runs a composition graph with a budgeted executor. What the nodes mean stands at their types (composition.ts).
// Invariant: every call of a stage is paid for before it begins, and none begins after its scope was aborted. The first
// cause of a failure ends its siblings and is what the caller gets. Each node begins on a fresh stack (a microtask), so
// that depth costs memory and no stack.

import { checkObject, invalidType } from "../arguments.ts";
import type { Awaitable } from "../budgets/traits.ts";
import { BudgetedExecutor } from "./budgeted-executor.ts";
import { type CompositionNode, isRecord, type RetryNode, type StageId } from "./composition.ts";
import { BudgetExceededError } from "./errors.ts";
import { type GraphPath, ROOT_PATH } from "./graph-path.ts";
import { checkedComposition } from "./parse-composition.ts";
import { callRemoteStage, type RemoteFetch } from "./remote-stage.ts";
import { Scope } from "./scope.ts";

/** One call of a stage, after it has ended. */
export interface StageTrace {
  /** Where the stage stands: `root.stages[2].branches.x`. Attempts of a Retry have the same path. */
  readonly path: string;
  /** The stage's id, or the URL of a remote stage. */
  readonly stageId: StageId;
  /** What it was charged and not given back when it ended. */
  readonly costCents: number;
  /** `refused` by the budget, and not called; `aborted` while it ran, and its outcome not waited for. */
  readonly outcome: "ok" | "failed" | "refused" | "aborted";
}

export interface RunOptions {
  /** Aborts the run: it rejects with the signal's reason, begins nothing more, and aborts the stages' signals. */
  readonly signal?: AbortSignal;
  /** Hears of each call as it ends, in the order of the trace. If it throws, the run ends with that. */
  readonly onStage?: (stage: StageTrace) => void;
  /** What calls remote stages. Default: the platform's `fetch`. */
  readonly fetch?: RemoteFetch;
  /** What waits between two attempts. Default: the platform's `setTimeout`. */
  readonly delay?: (delayMs: number, signal: AbortSignal) => Awaitable<unknown>;
}

export interface CompositionRun {
  readonly output: unknown;
  /** What this run was charged: the sum over its trace. The executor's figure has all runs. */
  readonly spentCents: number;
  /** Every call, in the order in which they ended. */
  readonly trace: readonly StageTrace[];
}

/**
 * Runs a graph once. A stage that stands in several places is charged in each, and in each attempt.
 *
 * A stage that ignores its signal is not waited for when its run has failed or was aborted. What it was charged stays
 * charged, until it fails in the end under `refundOnFailure`.
 *
 * @throws CompositionError, TypeError for bad arguments, before anything runs
 * @throws BudgetExceededError if the executor refused a stage; never tried again by a Retry. One that a stage itself fails
 *   with, from a purse of its own, is a failure as any other
 * @throws RemoteStageError, whatever a stage fails with, or the signal's reason: the first cause
 */
export async function runComposition(
  node: CompositionNode,
  input: unknown,
  executor: BudgetedExecutor,
  options: RunOptions = {},
): Promise<CompositionRun> {
  const graph = checkedComposition(node);
  if (!(executor instanceof BudgetedExecutor)) {
    throw invalidType("executor", "a BudgetedExecutor", executor);
  }
  checkOptions(options);
  const { signal } = options;
  const scope = new Scope();
  const abort = (): void => scope.abort(signal?.reason);
  if (signal?.aborted === true) abort();
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const run = new Run(executor, scope, options);
    const output = await run.node(graph, input, scope, ROOT_PATH);
    const spentCents = run.trace.reduce((total, { costCents }) => total + costCents, 0);
    return { output, spentCents, trace: run.trace };
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** A node with its input, to be run in the scope of its group. */
interface Member {
  readonly node: CompositionNode;
  readonly input: unknown;
  readonly path: GraphPath;
}

class Run {
  readonly trace: StageTrace[] = [];
  readonly #executor: BudgetedExecutor;
  readonly #scope: Scope;
  readonly #options: RunOptions;
  /** What the executor refused with. */
  readonly #refusals = new WeakSet<BudgetExceededError>();

  constructor(executor: BudgetedExecutor, scope: Scope, options: RunOptions) {
    this.#executor = executor;
    this.#scope = scope;
    this.#options = options;
  }

  async node(node: CompositionNode, input: unknown, scope: Scope, path: GraphPath): Promise<unknown> {
    await undefined;
    scope.throwIfAborted();
    switch (node.op) {
      case "Stage": {
        const { id, pinning = "signature", config } = node;
        const laid = config !== undefined && isRecord(input) ? { ...input, ...config } : input;
        return this.#stage(id, path, scope, (signal) =>
          this.#executor.inner.execute(id, laid, { signal, pinning }),
        );
      }
      case "RemoteStage": {
        const send = this.#options.fetch ?? fetch;
        return this.#stage(node.url, path, scope, (signal) =>
          callRemoteStage(node.url, input, { fetch: send, signal }),
        );
      }
      case "Const":
        return node.value;
      case "Sequential": {
        let value = input;
        for (const [index, stage] of node.stages.entries()) {
          value = await this.node(stage, value, scope, path.at("stages", index));
        }
        return value;
      }
      case "Parallel": {
        const branches = Object.entries(node.branches);
        const members = branches.map(([name, branch]) => ({
          node: branch,
          input: fieldOf(input, name, input),
          path: path.at("branches", name),
        }));
        const outputs = await this.#together(members, scope);
        return Object.fromEntries(branches.map(([name], index) => [name, outputs[index]]));
      }
      case "Branch": {
        const chosen =
          (await this.node(node.predicate, input, scope, path.at("predicate"))) === true
            ? "if_true"
            : "if_false";
        return this.node(node[chosen], input, scope, path.at(chosen));
      }
      case "Fanout": {
        const value = await this.node(node.source, input, scope, path.at("source"));
        const members = node.targets.map((target, index) => ({
          node: target,
          input: value,
          path: path.at("targets", index),
        }));
        return this.#together(members, scope);
      }
      case "Merge": {
        const members = node.sources.map((source, index) => ({
          node: source,
          input: isRecord(input) ? fieldOf(input, `source_${index}`, null) : input,
          path: path.at("sources", index),
        }));
        const outputs = await this.#together(members, scope);
        const merged = Object.fromEntries(outputs.map((output, index) => [`source_${index}`, output]));
        return this.node(node.target, merged, scope, path.at("target"));
      }
      case "Retry":
        return this.#retry(node, input, scope, path);
      case "Let": {
        const bindings = Object.entries(node.bindings);
        const members = bindings.map(([name, binding]) => ({
          node: binding,
          input,
          path: path.at("bindings", name),
        }));
        const outputs = await this.#together(members, scope);
        const bound = Object.fromEntries(bindings.map(([name], index) => [name, outputs[index]]));
        return this.node(node.body, isRecord(input) ? { ...input, ...bound } : bound, scope, path.at("body"));
      }
    }
  }

  /** Runs members at the same time. The first failure aborts the others. */
  async #together(members: readonly Member[], scope: Scope): Promise<unknown[]> {
    const group = new Scope(scope);
    const run = async ({ node, input, path }: Member): Promise<unknown> => {
      try {
        return await this.node(node, input, group, path);
      } catch (cause) {
        group.abort(cause);
        throw cause;
      }
    };
    const running = members.map(run);
    try {
      return await Promise.all(running);
    } finally {
      // All of them end at once after an abort, so that nothing of this group is entered in the trace later.
      await Promise.allSettled(running);
      group.end();
    }
  }

  async #retry(node: RetryNode, input: unknown, scope: Scope, path: GraphPath): Promise<unknown> {
    const { stage, max_attempts, delay_ms = 0 } = node;
    const { delay = sleep } = this.#options;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.node(stage, input, scope, path.at("stage"));
      } catch (cause) {
        // A refusal is a decision, and trying again would pay anew for what succeeds before it.
        if (attempt === max_attempts || scope.aborted || this.#isRefusal(cause)) throw cause;
      }
      if (delay_ms > 0) await scope.within((signal) => delay(delay_ms, signal));
    }
  }

  #isRefusal(cause: unknown): boolean {
    return cause instanceof BudgetExceededError && this.#refusals.has(cause);
  }

  /** One call, paid for and entered in the trace. */
  async #stage(
    stageId: StageId,
    path: GraphPath,
    scope: Scope,
    work: (signal: AbortSignal) => Awaitable<unknown>,
  ): Promise<unknown> {
    let admitted = false;
    let costCents = 0;
    const account = {
      admitted: (cents: number): void => {
        admitted = true;
        costCents = cents;
      },
      refunded: (): void => {
        costCents = 0;
      },
    };
    const enter = (outcome: StageTrace["outcome"]): void =>
      this.#enter({ path: `${path}`, stageId, costCents, outcome });
    let output: unknown;
    try {
      output = await scope.within((signal) => this.#executor.payFor(stageId, () => work(signal), account));
    } catch (cause) {
      const refused = !admitted && cause instanceof BudgetExceededError;
      if (refused) this.#refusals.add(cause);
      enter(refused ? "refused" : scope.aborted ? "aborted" : "failed");
      throw cause;
    }
    enter("ok");
    return output;
  }

  #enter(stage: StageTrace): void {
    this.trace.push(stage);
    try {
      this.#options.onStage?.(stage);
    } catch (cause) {
      // Not the stage's failure: no Retry may take it for one.
      this.#scope.abort(cause);
      throw cause;
    }
  }
}

function fieldOf(input: unknown, name: string, otherwise: unknown): unknown {
  return isRecord(input) && Object.hasOwn(input, name) ? input[name] : otherwise;
}

/** Ends early, and leaves no timer behind, when the signal is aborted. */
function sleep(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, delayMs);
    signal.addEventListener("abort", end, { once: true });
  });
}

function checkOptions(options: RunOptions): void {
  checkObject("options", options);
  const { signal, onStage, fetch: send, delay } = options;
  if (signal !== undefined && typeof signal?.addEventListener !== "function") {
    throw invalidType("signal", "an AbortSignal", signal);
  }
  for (const [name, option] of Object.entries({ onStage, fetch: send, delay })) {
    if (option !== undefined && typeof option !== "function") throw invalidType(name, "a function", option);
  }
}
