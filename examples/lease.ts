import { LeasedBudget, withTokens } from "purser";
import type { LeaseAuthority } from "purser/client";

type Model = (prompt: string) => Promise<{ text: string; input: number; output: number }>;

/** Each decision takes nanoseconds, and a thousand of them cost one call; what is not used goes back at the end. */
export async function answerAll(
  authority: LeaseAuthority,
  prompts: string[],
  model: Model,
): Promise<string[]> {
  await using budget = await LeasedBudget.open(authority, { unit: "TOKENS", subject: { agent: "writer" } });
  const answers: string[] = [];
  for (const prompt of prompts) {
    const text = await withTokens(budget, prompt.length + 1_000, async () => {
      const reply = await model(prompt);
      return { result: reply.text, promptTokens: reply.input, completionTokens: reply.output };
    });
    answers.push(text);
  }
  return answers;
}
