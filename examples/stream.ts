import type { Authority } from "purser/client";

type Chunk = { text: string; usage?: { total: number } };
type Model = (prompt: string, options: { signal: AbortSignal }) => AsyncIterable<Chunk>;
const call = { action: { kind: "llm", name: "chat" }, estimate: { unit: "TOKENS", amount: 1_200 } } as const;

export async function* answer(authority: Authority, model: Model, prompt: string): AsyncGenerator<string> {
  const guard = await authority.guard(call);
  if (!guard.ok) throw new Error(guard.denial.message);
  const meter = guard.meter();
  void meter.add(prompt.length); // what is sent is used, also if the answer is never read
  const reply = meter.wrap(model(prompt, { signal: meter.signal }), ({ text, usage }) => {
    if (usage) meter.usage(usage.total); // the provider's own figure, if it comes
    return text.length;
  });
  for await (const { text } of reply) yield text; // as long as the budget has more; settled however this ends
}
