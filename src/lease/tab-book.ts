// What the tabs of one origin have of the lease that they share: the trunk that the leading tab holds at the authority, and the
// slices that it has lent to every tab, itself included. Plain data that any tab can take over, and the arithmetic on it.
// All figures are cumulative. Who may call: the leading tab; the others only keep it.
//
// Invariant, for each trunk:   granted = returned + spent + lent + free
//   lent     what slices have and have not reported as spent. It stays lent until its tab says otherwise: what a tab that
//            died could have spent is never lent again, and the authority settles it with the trunk.
//   free     what nobody has. Only this can be lent, or given back to the authority.

import type { LeaseName } from "../authority/leases.ts";

/** What one tab was lent. */
export interface TabSlice {
  readonly id: string;
  /** Of which trunk. */
  readonly trunk: number;
  readonly granted: number;
  readonly spent: number;
  readonly held: number;
  readonly returned: number;
  readonly sequence: number;
  /** How much its tab last wanted to have. */
  readonly want: number;
  /** Given back, but for what is held. */
  readonly isReturned: boolean;
}

/** A lease of the authority. */
export interface Trunk {
  /** Counted up; what slices of this trunk show as their epoch. */
  readonly number: number;
  readonly name: LeaseName;
  readonly affectedScopes: readonly string[];
  readonly granted: number;
  readonly returned: number;
  /** The number of the last report that was sent, or is about to be. */
  readonly sequence: number;
  /** What slices have spent that are no more. */
  readonly spentBefore: number;
  /** It has ended at the authority: nothing of it is lent any more. */
  readonly isOver: boolean;
  /** Over, and the authority has not been told the latest figures. */
  readonly isDue: boolean;
}

export interface TabBook {
  /** How many tabs have led so far, this one included. A book of a later term outweighs any of an earlier one. */
  readonly term: number;
  /** Counted up with every change that is told; within one term the greater outweighs. */
  readonly serial: number;
  /** A trunk that is being asked for: whoever leads next asks for the same one. */
  readonly opening?: { readonly key: string; readonly want: number } | undefined;
  /** How many trunks there have been: no number comes twice, since answers may still be under way that were asked for one forgotten. */
  readonly opened: number;
  /** The present one is the last, unless it is over. */
  readonly trunks: readonly Trunk[];
  readonly slices: readonly TabSlice[];
}

/** What a tab reports, in plain numbers: tabs share an authority that answers in them. */
export type SliceReport = Readonly<Record<"sequence" | "spent" | "held" | "returned", number>>;

/**
 * Trunks that are over are kept for what their slices may still report; beyond so many, a slice that never says it stays
 * settled as its trunk was. One of which the authority is still to be told something is kept in any case.
 */
const PAST_TRUNKS_MAX = 4;

export const EMPTY_BOOK: TabBook = { term: 0, serial: 0, opened: 0, trunks: [], slices: [] };

export function isNewer(book: TabBook, than: TabBook): boolean {
  return book.term === than.term ? book.serial > than.serial : book.term > than.term;
}

export function presentTrunk({ trunks }: TabBook): Trunk | undefined {
  const last = trunks.at(-1);
  return last?.isOver === false ? last : undefined;
}

export function sliceOf({ slices }: TabBook, id: string): TabSlice | undefined {
  return slices.find((slice) => slice.id === id);
}

/** What a slice's tab may still come to spend. */
export function lentTo({ granted, returned, spent }: TabSlice): number {
  return Math.max(0, granted - returned - spent);
}

/** The part of it that no call under way has taken. */
export function idleIn(slice: TabSlice): number {
  return Math.max(0, lentTo(slice) - slice.held);
}

export function lentOf(book: TabBook, trunk: Trunk): number {
  return sumOver(book, trunk, lentTo);
}

export function spentOf(book: TabBook, trunk: Trunk): number {
  return trunk.spentBefore + sumOver(book, trunk, ({ spent }) => spent);
}

export function freeOf(book: TabBook, trunk: Trunk | undefined): number {
  if (trunk === undefined || trunk.isOver) return 0;
  return Math.max(0, trunk.granted - trunk.returned - spentOf(book, trunk) - lentOf(book, trunk));
}

/** What every tab would have if all idle budget were divided evenly; `newcomers` have none so far. */
export function evenShare(book: TabBook, trunk: Trunk, newcomers: 0 | 1): number {
  const open = book.slices.filter((slice) => slice.trunk === trunk.number && !slice.isReturned);
  const idle = open.reduce((sum, slice) => sum + idleIn(slice), freeOf(book, trunk));
  return Math.floor(idle / Math.max(1, open.length + newcomers));
}

/** How much the tabs want that have a slice, beyond what they have: what one round of their calls will ask for. */
export function wantedOf(book: TabBook, trunk: Trunk): number {
  return sumOver(book, trunk, (slice) => (slice.isReturned ? 0 : slice.want));
}

/** What the authority is to be told of a trunk next. */
export function reportOf(book: TabBook, trunk: Trunk): SliceReport {
  return {
    sequence: trunk.sequence,
    spent: spentOf(book, trunk),
    // All of it may be spent before the next report: with less, the authority would believe the rest to be nobody's.
    held: lentOf(book, trunk),
    returned: trunk.returned,
  };
}

// ---- changes: each gives the book as it is afterwards --------------------------------------------------------------

export function withTrunk(
  book: TabBook,
  opened: Pick<Trunk, "name" | "affectedScopes" | "granted" | "sequence">,
): TabBook {
  const { opening: _, ...rest } = book;
  const number = book.opened + 1;
  const trunk = { ...opened, number, returned: 0, spentBefore: 0, isOver: false, isDue: false };
  const recent = book.trunks.slice(-PAST_TRUNKS_MAX);
  const kept = book.trunks.filter((it) => it.isDue || recent.includes(it));
  return {
    ...rest,
    opened: number,
    trunks: [...kept, trunk],
    slices: book.slices.filter((slice) => kept.some((it) => it.number === slice.trunk)),
  };
}

export function withSlice(
  book: TabBook,
  trunk: Trunk,
  id: string,
  lent: { granted: number; want: number },
): TabBook {
  const figures = { spent: 0, held: 0, returned: 0, sequence: 0, isReturned: false };
  return { ...book, slices: [...book.slices, { id, trunk: trunk.number, ...lent, ...figures }] };
}

export function withGrowth(
  book: TabBook,
  id: string,
  { more, want }: { more: number; want: number },
): TabBook {
  return changeSlice(book, id, (slice) => ({ ...slice, granted: slice.granted + more, want }));
}

/** A report with a new number. What was spent or returned once stays so. */
export function withReport(book: TabBook, id: string, report: SliceReport, isLast: boolean): TabBook {
  const heard = changeSlice(book, id, (slice) => {
    const spent = Math.max(slice.spent, report.spent);
    const isReturned = isLast || slice.isReturned;
    const left = Math.max(0, slice.granted - spent);
    const held = Math.min(report.held, left);
    const returned = isReturned ? left - held : Math.min(left, Math.max(slice.returned, report.returned));
    return { ...slice, spent, held, returned, sequence: report.sequence, isReturned };
  });
  const number = sliceOf(heard, id)?.trunk;
  return fold({
    ...heard,
    trunks: heard.trunks.map((it) => (it.number === number && it.isOver ? { ...it, isDue: true } : it)),
  });
}

/** Takes free budget out of the trunk, to be told with its next report. */
export function withReturn(book: TabBook, { number }: Trunk, amount: number): TabBook {
  return changeTrunk(book, number, (it) => ({ ...it, returned: it.returned + amount }));
}

/** The next report gets a number of its own. */
export function withNextReport(book: TabBook, { number }: Trunk): TabBook {
  return changeTrunk(book, number, (it) => ({ ...it, sequence: it.sequence + 1 }));
}

/** The authority has answered with so much in all. */
export function withAnswer(
  book: TabBook,
  { number }: Trunk,
  answer: { granted: number; sequence: number },
): TabBook {
  return changeTrunk(book, number, (it) => ({
    ...it,
    granted: Math.max(it.granted, answer.granted),
    sequence: Math.max(it.sequence, answer.sequence),
  }));
}

/** The trunk has ended: what is still to be reported of it is late. */
export function withEnd(book: TabBook, { number }: Trunk): TabBook {
  return changeTrunk(book, number, (it) => ({ ...it, isOver: true, isDue: true }));
}

/**
 * The authority has heard a report on a trunk that is over. Where a slice has reported since, the latest is still due; else a
 * trunk that nobody has anything of is forgotten.
 */
export function withHeard(book: TabBook, { number }: Trunk, report: SliceReport): TabBook {
  const trunk = book.trunks.find((it) => it.number === number);
  if (trunk === undefined) return book;
  const { spent, held, returned } = reportOf(book, trunk);
  if (spent !== report.spent || held !== report.held || returned !== report.returned) return book;
  const heard = changeTrunk(book, number, (it) => ({ ...it, isDue: false }));
  const isNeeded = heard.slices.some(({ trunk }) => trunk === number);
  return isNeeded ? heard : without(heard, number);
}

/** Forgets a trunk that the authority does not know any more, and its slices. */
export function without(book: TabBook, number: number): TabBook {
  return {
    ...book,
    trunks: book.trunks.filter((it) => it.number !== number),
    slices: book.slices.filter(({ trunk }) => trunk !== number),
  };
}

/** Slices that nothing can change any more become a sum. */
function fold(book: TabBook): TabBook {
  const isSettled = (slice: TabSlice): boolean => slice.isReturned && lentTo(slice) === 0;
  if (!book.slices.some(isSettled)) return book;
  const settled = book.slices.filter(isSettled);
  const trunks = book.trunks.map((trunk) => {
    const spent = settled.reduce((sum, slice) => (slice.trunk === trunk.number ? sum + slice.spent : sum), 0);
    return spent === 0 ? trunk : { ...trunk, spentBefore: trunk.spentBefore + spent };
  });
  return { ...book, trunks, slices: book.slices.filter((slice) => !isSettled(slice)) };
}

function changeSlice(book: TabBook, id: string, change: (slice: TabSlice) => TabSlice): TabBook {
  return { ...book, slices: book.slices.map((slice) => (slice.id === id ? change(slice) : slice)) };
}

function changeTrunk(book: TabBook, number: number, change: (trunk: Trunk) => Trunk): TabBook {
  return { ...book, trunks: book.trunks.map((trunk) => (trunk.number === number ? change(trunk) : trunk)) };
}

function sumOver(book: TabBook, { number }: Trunk, figure: (slice: TabSlice) => number): number {
  return book.slices.reduce((sum, slice) => (slice.trunk === number ? sum + figure(slice) : sum), 0);
}
