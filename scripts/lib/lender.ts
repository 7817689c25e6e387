// Draws slices of the tenant's budget at the authority and puts them into the shared budget that the threads spend from.
// Invariants: a slice is reserved at the authority before a token of it can be spent here, so the threads together can
// never spend more than the authority lent; requests are made one after the other, whoever asks. Main thread only.
import type { AtomicTokenBudget } from "purser";
import type { TenantClient } from "./authority-client.ts";
import { SLICE_TTL_MS, SLICES_PER_BUDGET } from "./limits.ts";
import { nextSliceTokens, SliceBook, type SliceSettlement } from "./slice-book.ts";
import { UserError } from "./user-error.ts";

export interface Lender {
  /** Tokens drawn so far. */
  readonly drawnTokens: number;
  /** Slices that the authority has lent and not confirmed as settled. */
  readonly openSlices: number;
  /** Tokens that the authority said it charged for the settled slices. */
  readonly chargedTokens: number;
  /**
   * Sees to it that a call of this estimate has a chance: "retry" when the budget has the tokens now, "exhausted" when
   * the authority has nothing left to add. Another thread may be faster than the retry; then the caller asks again.
   */
  topUp(estimateTokens: number): Promise<"retry" | "exhausted">;
  /**
   * After the last call: covers debt as far as the authority can, then settles every slice with what was spent. What even
   * then is beyond the slices goes with the last one, and the authority books it as overdraft.
   */
  settleAll(): Promise<void>;
}

export function createLender(
  client: TenantClient,
  shared: AtomicTokenBudget,
  lendableAtStartTokens: number,
): Lender {
  const book = new SliceBook();
  const standardTokens = Math.ceil(lendableAtStartTokens / SLICES_PER_BUDGET);
  let lendableTokens = lendableAtStartTokens;
  let openSlices = 0;
  let chargedTokens = 0;
  let drawing: Promise<unknown> = Promise.resolve();
  let settling: Promise<void> = Promise.resolve();

  /** One after the other: two threads that run short together mostly need one slice, not two. */
  function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = drawing.then(work);
    drawing = result.catch(() => undefined);
    return result;
  }

  /** Settles slices that are used up, while the threads go on. If that fails, settleAll() says so. */
  function settleUsed(): void {
    settling = settling.then(async () => commit(book.takeUsed(shared.tokensConsumed())));
    settling.catch(() => undefined);
  }

  async function commit(settlements: readonly SliceSettlement[]): Promise<void> {
    for (const it of settlements) {
      chargedTokens += await client.commit(it.reservationId, it.actualTokens);
      openSlices -= 1;
    }
  }

  async function draw(shortfallTokens: number): Promise<void> {
    const tokens = nextSliceTokens({ lendableTokens, shortfallTokens, standardTokens });
    if (tokens === 0) return;
    const reservationId = await client.reserve(tokens, SLICE_TTL_MS);
    if (reservationId === null) {
      // Someone else draws from the same budget. Go on with what is really left.
      const { remaining } = await client.balance();
      if (remaining >= tokens)
        throw new UserError(`the authority has ${remaining} tokens but would not lend ${tokens}.`);
      lendableTokens = Math.max(0, remaining);
      return;
    }
    lendableTokens -= tokens;
    openSlices += 1;
    book.add(reservationId, tokens);
    shared.grant(tokens);
  }

  return {
    get drawnTokens() {
      return book.drawnTokens;
    },
    get openSlices() {
      return openSlices;
    },
    get chargedTokens() {
      return chargedTokens;
    },
    topUp: (estimateTokens) =>
      inTurn(async () => {
        for (;;) {
          const shortfallTokens = estimateTokens + shared.debt - shared.available;
          if (shortfallTokens <= 0) return "retry";
          if (lendableTokens === 0) return "exhausted";
          // Each round draws tokens or learns that there are fewer: it ends.
          await draw(shortfallTokens);
          settleUsed();
        }
      }),
    settleAll: () =>
      inTurn(async () => {
        while (shared.debt > 0 && lendableTokens > 0) await draw(shared.debt);
        await settling;
        await commit(book.takeAll(shared.tokensConsumed()));
      }),
  };
}
