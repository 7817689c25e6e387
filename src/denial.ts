// A denial: the normal answer "no", with what the caller needs in order to act on it.

/** Why a budget said no. Stable; new codes may be added. */
export type DenialCode =
  /** Nothing that is held now could make it fit. */
  | "EXHAUSTED"
  /** It would fit if what is held by other calls came back. */
  | "HELD_BY_INFLIGHT"
  /** It is larger than the whole budget. */
  | "TOO_LARGE_EVER"
  /** It comes too soon after what was granted before. */
  | "RATE"
  /** More was spent than the budget had; that is repaid first. */
  | "DEBT";

/** When to ask again: `never` as the budget stands, when a reservation is released, or after a time. */
export type RetryAdvice = "never" | "when-released" | { readonly afterMs: number };

export interface Denial {
  readonly code: DenialCode;
  /** Name of the budget that said no; empty for a budget without a name. */
  readonly scope: string;
  /** Amounts in the budget's unit. */
  readonly requested: number;
  readonly limit: number;
  readonly available: number;
  readonly spent: number;
  readonly held: number;
  readonly debt: number;
  readonly retry: RetryAdvice;
}

/** The figures of a budget at the moment of a denial. */
export type DeniedFigures = Omit<Denial, "code" | "retry">;

/** Finds the code and the advice that fit the figures. */
export function explainDenial(figures: DeniedFigures): Denial {
  const { requested, limit, available, held, debt } = figures;
  if (requested > limit) return { code: "TOO_LARGE_EVER", ...figures, retry: "never" };
  if (requested <= available + held - debt)
    return { code: "HELD_BY_INFLIGHT", ...figures, retry: "when-released" };
  if (debt > 0) return { code: "DEBT", ...figures, retry: "never" };
  return { code: "EXHAUSTED", ...figures, retry: "never" };
}
