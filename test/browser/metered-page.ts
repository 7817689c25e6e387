// A page of its own that meters a stream and is closed in the middle of it. Says "metering" to who opened it once half of
// the stream was read. Loaded by page-close.test.ts.

import { HttpAuthority } from "purser/client";

/** What the page is told to do. */
export interface PagePlan {
  readonly baseUrl: string;
  readonly apiKey: string;
  readonly tenant: string;
  readonly estimate: number;
  readonly chunk: number;
  readonly chunks: number;
}

const { host, plan } = globalThis as unknown as {
  readonly host: { postMessage(message: unknown, origin: string): void };
  readonly plan: PagePlan;
};
const { baseUrl, apiKey, tenant, estimate, chunk, chunks } = plan;

async function* model(): AsyncGenerator<number> {
  for (let n = 0; n < chunks; n++) yield chunk;
  await new Promise<never>(() => undefined); // goes on for longer than the page does
}

const authority = new HttpAuthority({ baseUrl, apiKey, subject: { tenant } });
const guard = await authority.guard({
  action: { kind: "llm", name: "chat" },
  estimate: { unit: "TOKENS", amount: estimate },
});
if (!guard.ok) throw new Error(guard.denial.message);
const meter = guard.meter();
let read = 0;
for await (const tokens of meter.wrap(model(), (it) => it)) {
  read += tokens;
  if (read === chunk * chunks) host.postMessage("metering", location.origin);
}
