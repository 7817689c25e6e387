// The ABI: everything the host may call. Numbers cross as f64 and are checked again inside, since JavaScript turns
// null, strings and booleans into numbers on the way. Handles and slots are indexes, never addresses.
// Only src/kernel calls these.

export { allClaim, allTake } from "./all";
export { attach, budgetsInitialised, holdsInitialised, initialise, ownerAttach, ownerIssue, ownerPrepare } from "./header";
export { budgetFigure, counterGive, counterGrant, counterRefill, counterTake } from "./counter";
export { creditFit, creditJoin, creditMove } from "./credit";
export { budgetCount, budgetFind, budgetOpen, budgetRemove, budgetRemoveIdle, creditOpen, permitOpen, rateOpen, tenantOpen } from "./directory";
export { counterFit, holdFit, rateFit } from "./fit";
export { rateAvailable, rateGive, rateTake, rateWait } from "./rate";
export { permitCancel, permitFields, permitPromote, permitTake, permitWait, permitWaiting } from "./permit";
export {
  budgetAdjust,
  heldAmount,
  heldCount,
  holdAdjust,
  holdExpire,
  holdReclaim,
  holdReserve,
  holdSettle,
} from "./hold";
