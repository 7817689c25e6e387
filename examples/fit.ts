import { AtomicTokenBudget, withTokens } from "purser";

const budget = new AtomicTokenBudget(10_000);

type Model = (prompt: string, maxTokens: number) => Promise<{ text: string; input: number; output: number }>;

/** As long an answer as the budget has left: up to 4,000 tokens, and no call at all below 200. */
export const write = (prompt: string, model: Model): Promise<string> =>
  withTokens(budget, { want: prompt.length + 4_000, min: prompt.length + 200 }, async ({ estimate }) => {
    const { text, input, output } = await model(prompt, estimate - prompt.length);
    return { result: text, promptTokens: input, completionTokens: output };
  });
