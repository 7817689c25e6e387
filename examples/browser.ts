import { AtomicTokenBudget, createKernel, withTokens } from "purser";

const kernel = createKernel(); // post kernel.memory to Web Workers: attachKernel(memory) gives them the same budgets
const budget = new AtomicTokenBudget(100_000, { kernel, name: "agents" });

type Usage = { promptTokens: number; completionTokens: number };
type Model = (prompt: string, limits: { maxTokens: number }) => Promise<{ text: string; usage: Usage }>;

export const ask = (prompt: string, model: Model): Promise<string> =>
  withTokens(budget, prompt.length + 1_000, async () => {
    const { text, usage } = await model(prompt, { maxTokens: 1_000 });
    return { result: text, ...usage };
  });
