import { AtomicTokenBudget } from "purser";
import { ElasticBudget, EstimateAdvisor, withSuggestedTokens } from "purser/estimates";

// 98,000 tokens to admit calls on, and 2,000 that all of them share for answers longer than expected: 100,000, and no more.
const budget = new ElasticBudget({
  budget: new AtomicTokenBudget(98_000),
  tail: new AtomicTokenBudget(2_000),
});
const advisor = new EstimateAdvisor(); // learns per model and route how much of its estimate a call uses

type Stream = (prompt: string, maxTokens: number) => AsyncIterable<{ text: string; tokens: number }>;
const PIECE_TOKENS_MAX = 8; // the most that one piece of a stream brings

export function summarise(prompt: string, promptTokens: number, stream: Stream): Promise<string> {
  const call = { model: "gpt", route: "summary", certain: promptTokens, estimate: 4_096 };
  return withSuggestedTokens({ advisor, budget, ...call }, async (reservation) => {
    let text = "";
    let completionTokens = 0;
    const mayGoOn = (): boolean => {
      const total = promptTokens + completionTokens + PIECE_TOKENS_MAX;
      return reservation.growTo(total) >= total; // false when neither has that much left
    };
    if (mayGoOn()) {
      for await (const piece of stream(prompt, call.estimate)) {
        completionTokens += piece.tokens;
        text += piece.text;
        if (!mayGoOn()) break; // the answer ends here
      }
    }
    return { result: text, promptTokens: completionTokens > 0 ? promptTokens : 0, completionTokens };
  });
}
