import { AtomicTokenBudget, allOf, ConcurrencyGovernor, createKernel, RateBudget } from "purser";

const kernel = createKernel();
const tokens = new AtomicTokenBudget(100_000, { kernel, name: "tokens" });
const requests = new RateBudget({ limit: 60, windowMs: 60_000 }, { kernel, name: "requests", now: Date.now });
const governor = new ConcurrencyGovernor({ streams: 2, total: 4 }, { kernel, name: "slots" });
const call = allOf(tokens, requests, governor.category("streams"));

type Model = () => Promise<{ text: string; input: number; output: number }>;

export async function stream(model: Model, estimate: number): Promise<string> {
  using taken = call.tryReserve([estimate, 1]); // tokens, a request and a stream: all three or none of them
  if (taken === null) return `refused: ${call.explainDenial([estimate, 1])?.code}`;
  const { text, input, output } = await model();
  tokens.recordUsage(taken.parts[0], input, output);
  return text; // the stream's permit goes back here; on an exception all three do
}
