// The second artefact: the authority's arithmetic alone, over a page of memory of its own. It shares nothing with the
// kernel, so whoever only spends does not carry it, and whoever only keeps accounts carries nothing else.
// Only src/kernel calls these.

export {
  accountFigure,
  accountFund,
  accountPut,
  pathCharged,
  pathCommit,
  pathEvent,
  pathIndex,
  pathRefund,
  pathRelease,
  pathReserve,
} from "./account";
