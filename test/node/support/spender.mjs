// A process that spends: reserves, commits 70 tokens, and is killed by its test at any moment; as `stream`, counts 42 tokens
// of one that never ends; or, as `resume`, opens the journal that another one left and settles what it finds. Uses the built package. Run by recovery-scenarios.test.ts.

import process from "node:process";
import { HttpAuthority } from "purser/client";
import { FileJournal } from "purser/journal-file";

const [task, baseUrl, apiKey, tenant, folder] = process.argv.slice(2);
const journal = new FileJournal({ folder });
const authority = new HttpAuthority({ baseUrl, apiKey, subject: { tenant }, journal });

if (task === "resume") {
  console.log(JSON.stringify(await authority.flush()));
} else {
  const guard = await authority.guard({
    action: { kind: "llm", name: "chat" },
    estimate: { unit: "TOKENS", amount: 100 },
  });
  console.log(guard.reservationId);
  if (task === "forget") {
    // Nobody ends this one. Its heartbeat must not keep the process running.
  } else if (task === "stream") {
    const meter = guard.meter();
    await meter.add(30);
    await meter.add(12);
    setInterval(() => undefined, 60_000);
  } else {
    await guard.commit({ actual: 70, metrics: { tokensOutput: 20 } });
  }
}
