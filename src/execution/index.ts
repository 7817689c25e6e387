// Budgeted execution of composition graphs: what the library's entries export of it.

export {
  BudgetedExecutor,
  type BudgetedExecutorOptions,
  type StageContext,
  type StageExecutor,
} from "./budgeted-executor.ts";
export type {
  BranchNode,
  CompositionNode,
  ConstNode,
  FanoutNode,
  LetNode,
  MergeNode,
  ParallelNode,
  Pinning,
  RemoteStageNode,
  RetryNode,
  SequentialNode,
  StageId,
  StageNode,
} from "./composition.ts";
export {
  buildCostMap,
  COST_DENIED,
  type CostBounds,
  type CostMap,
  type CostOptions,
  costBounds,
  costBoundsOf,
  type UnknownCost,
} from "./costs.ts";
export { BudgetExceededError, CompositionError, RemoteStageError } from "./errors.ts";
export { COMPOSITION_LIMITS } from "./limits.ts";
export { parseComposition } from "./parse-composition.ts";
export type { RemoteFetch } from "./remote-stage.ts";
export {
  type CompositionRun,
  type RunOptions,
  runComposition,
  type StageTrace,
} from "./run-composition.ts";
export { type Effect, MemoryStageStore, type StageRecord, type StageStore } from "./stage-store.ts";
