// What goes wrong around composition graphs, each with a stable `code`. A stage's own error is handed on as it is.

import { PurserError } from "../errors.ts";
import type { StageId } from "./composition.ts";

/** What was handed in is no composition graph. The message begins with the place: `root.stages[2].branches.x: …`. */
export class CompositionError extends PurserError {
  /** The place in the graph; shortened in the middle if it is very deep. */
  readonly path: string;

  constructor(path: string, rule: string) {
    super("COMPOSITION_INVALID", `${path}: ${rule}`);
    this.path = path;
  }
}

/** The budget refused a stage before it was called. Nothing was taken for it. */
export class BudgetExceededError extends PurserError {
  /** What the budget had spent when it refused, without this stage. */
  readonly spentCents: number;
  readonly budgetCents: number;
  /** The stage, or the URL of a remote stage. */
  readonly stageId: StageId;
  /** What the stage would have cost; {@link COST_DENIED} (infinite) if its cost is unknown and therefore denied. */
  readonly costCents: number;

  constructor(refusal: { spentCents: number; budgetCents: number; stageId: StageId; costCents: number }) {
    const { spentCents, budgetCents, stageId, costCents } = refusal;
    const name = JSON.stringify(stageId);
    super(
      "BUDGET_EXCEEDED",
      Number.isFinite(costCents)
        ? `stage ${name} costs ${costCents} cents, and ${spentCents} of ${budgetCents} are spent`
        : `stage ${name} has no known cost, and unknown costs are denied`,
    );
    this.spentCents = spentCents;
    this.budgetCents = budgetCents;
    this.stageId = stageId;
    this.costCents = costCents;
  }
}

/** A remote stage could not be reached, or did not answer with an output. */
export class RemoteStageError extends PurserError {
  readonly url: string;
  /** The HTTP status, if there was an answer. */
  readonly status: number | undefined;

  constructor(url: string, reason: string, details: { status?: number; cause?: unknown } = {}) {
    super("REMOTE_STAGE_FAILED", `remote stage ${JSON.stringify(url)}: ${reason}`);
    this.url = url;
    this.status = details.status;
    if (details.cause !== undefined) this.cause = details.cause;
  }
}
