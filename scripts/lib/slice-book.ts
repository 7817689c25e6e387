// The slices drawn from the authority, and which of them the tokens spent so far belong to: always the oldest first.
// Pure bookkeeping. Invariant: the actuals handed out for settlement add up to what was spent, each within its slice but
// for the last, which carries whatever was spent beyond all slices; a slice is handed out once. Called by lender.ts on the
// main thread only.

export interface SliceSettlement {
  readonly reservationId: string;
  readonly actualTokens: number;
}

interface Slice {
  readonly reservationId: string;
  readonly tokens: number;
}

export class SliceBook {
  /** Drawn and not handed out yet, oldest first. */
  #open: Slice[] = [];
  #drawnTokens = 0;
  #settledTokens = 0;

  get drawnTokens(): number {
    return this.#drawnTokens;
  }

  add(reservationId: string, tokens: number): void {
    this.#open.push({ reservationId, tokens });
    this.#drawnTokens += tokens;
  }

  /**
   * Slices that are used up to the last token, now that `spentTokens` are spent in all. The newest stays: calls may yet
   * use more than they reserved, and what no slice covers must be settled with one.
   */
  takeUsed(spentTokens: number): SliceSettlement[] {
    const used: SliceSettlement[] = [];
    for (
      let [slice, newer] = this.#open;
      slice !== undefined && newer !== undefined;
      [slice, newer] = this.#open
    ) {
      if (this.#settledTokens + slice.tokens > spentTokens) break;
      this.#open.shift();
      this.#settledTokens += slice.tokens;
      used.push({ reservationId: slice.reservationId, actualTokens: slice.tokens });
    }
    return used;
  }

  /** All slices that are left: used up, then with less than their tokens or with nothing; the last with all the rest. */
  takeAll(spentTokens: number): SliceSettlement[] {
    const open = this.#open.splice(0);
    return open.map((slice, index) => {
      const left = Math.max(0, spentTokens - this.#settledTokens);
      const actualTokens = index === open.length - 1 ? left : Math.min(slice.tokens, left);
      this.#settledTokens += actualTokens;
      return { reservationId: slice.reservationId, actualTokens };
    });
  }
}

/**
 * How large the next slice is. Near the end slices halve, so that other holders of the same budget still find some; but
 * one always covers the call that asked, as long as that much is left, and the last one takes what there is.
 */
export function nextSliceTokens(left: {
  readonly lendableTokens: number;
  readonly shortfallTokens: number;
  readonly standardTokens: number;
}): number {
  const usual = Math.min(left.standardTokens, Math.ceil(left.lendableTokens / 2));
  return Math.min(left.lendableTokens, Math.max(left.shortfallTokens, usual));
}
