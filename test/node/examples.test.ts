// The README's examples are the files of examples/, word for word, and they run.

import { execFile, execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { LocalAuthority } from "purser/ledger";
import { expect, test } from "vitest";
import { stream } from "../../examples/all-of.ts";
import { ask } from "../../examples/browser.ts";
import { chat } from "../../examples/client.ts";
import { summarise } from "../../examples/estimates.ts";
import { write } from "../../examples/fit.ts";
import { brief } from "../../examples/graph.ts";
import { answerAll } from "../../examples/lease.ts";
import { runTool } from "../../examples/limits.ts";
import { answer as streamed } from "../../examples/stream.ts";
import { answer } from "../../examples/tenants.ts";
import { adminClient } from "../../scripts/lib/authority-client.ts";
import { startAuthority } from "../../scripts/lib/authority-process.ts";
import { COMMAND_TIMEOUT_MS, temporaryFolder } from "./support/commands.ts";

const file = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

test.each([
  "browser",
  "worker",
  "node",
  "credit",
  "token",
  "tenants",
  "graph",
  "limits",
  "all-of",
  "fit",
  "estimates",
  "client",
  "stream",
  "lease",
])("the README shows examples/%s.ts", (name) => {
  expect(readFileSync(file("README.md"), "utf8")).toContain(
    `\`\`\`ts\n${readFileSync(file(`examples/${name}.ts`), "utf8")}\`\`\``,
  );
});

test("docs/LEASES.md shows examples/worker-lease.ts", () => {
  expect(readFileSync(file("docs/LEASES.md"), "utf8")).toContain(
    `\`\`\`ts\n${readFileSync(file("examples/worker-lease.ts"), "utf8")}\`\`\``,
  );
});

test("examples/node.ts: four threads spend from one budget, and never more than it has", () => {
  const printed = execFileSync(process.execPath, [file("examples/node.ts")], { encoding: "utf8" });
  const [, spent, left] = /^(\d+) spent, (\d+) left\n$/.exec(printed) ?? [];
  expect(Number(spent) + Number(left)).toBe(10_000);
  expect(Number(left)).toBeLessThan(120);
});

test("examples/credit.ts: two threads with credit use a budget up to the last unit", () => {
  const printed = execFileSync(process.execPath, [file("examples/credit.ts")], { encoding: "utf8" });
  expect(printed).toBe("100000 sent, 0 left\n");
});

test("examples/browser.ts: settles each call with the model's usage, and denies beyond the budget", async () => {
  const model = async (prompt: string, { maxTokens }: { maxTokens: number }) => ({
    text: `${prompt}!`,
    usage: { promptTokens: 20_000, completionTokens: maxTokens },
  });
  for (let call = 0; call < 4; call++) expect(await ask("hello", model)).toBe("hello!");
  await expect(ask("x".repeat(20_000), model)).rejects.toMatchObject({ code: "BUDGET_DENIED" });
});

test("examples/client.ts: commits what the model used, releases when it fails, and says why it is denied", async () => {
  const authority = new LocalAuthority({ tenant: "acme", now: Date.now });
  const allocated = { unit: "TOKENS", amount: 2_000 } as const;
  authority.ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated });
  const model = async () => ({ text: "hello", tokensUsed: 900 });
  await expect(chat(authority, () => Promise.reject(new Error("no model")))).rejects.toThrow("no model");
  expect(await chat(authority, model)).toBe("hello");
  await expect(chat(authority, model)).rejects.toMatchObject({
    code: "BUDGET_DENIED",
    denial: { code: "BUDGET_EXCEEDED", retry: "never" },
  });
  expect(await authority.balances()).toMatchObject([{ spent: 900, reserved: 0, remaining: 1_100 }]);
});

test("examples/local.ts: two budgets on one path, in this process", () => {
  const printed = execFileSync(process.execPath, [file("examples/local.ts")], { encoding: "utf8" });
  expect(printed).toBe(
    "hello BUDGET_EXCEEDED tenant:acme/agent:writer 600\ntenant:acme 900\ntenant:acme/agent:writer 900\n",
  );
});

test("examples/http.ts: the same over HTTP, against a real authority", {
  timeout: COMMAND_TIMEOUT_MS,
}, async () => {
  await using folder = await temporaryFolder();
  const authority = await startAuthority({
    port: 0,
    host: "127.0.0.1",
    dataDir: folder.path,
    settings: { PURSER_ADMIN_KEY: "admin-key-of-the-examples" },
    onLog: (line) => process.stderr.write(`${line}\n`),
  });
  try {
    const admin = adminClient(authority.url, "admin-key-of-the-examples");
    await admin.ensureTenant("acme");
    await admin.createBudget({ tenant: "acme", scope: "tenant:acme", unit: "TOKENS" }, 2_000);
    const env = {
      ...process.env,
      PURSER_URL: authority.url,
      PURSER_API_KEY: await admin.createKey("acme"),
    };
    const { stdout } = await promisify(execFile)(process.execPath, [file("examples/http.ts")], { env });
    expect(stdout).toBe("hello\ntenant:acme 900\n");
  } finally {
    await authority.stop();
  }
});

test("examples/stream.ts: shows the answer until it ends, its reader leaves, or the budget is used up", async () => {
  const authority = new LocalAuthority({ tenant: "acme", now: Date.now });
  const allocated = { unit: "TOKENS", amount: 3_000 } as const;
  authority.ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated });
  let aborted = false;
  async function* model(prompt: string, { signal }: { signal: AbortSignal }) {
    signal.addEventListener("abort", () => {
      aborted = true;
    });
    for (let n = 0; n < Number(prompt); n++) yield { text: "x".repeat(100) };
    yield { text: "", usage: { total: 777 } };
  }
  const spent = async () => (await authority.balances()).map(({ spent, reserved }) => [spent, reserved]);
  let shown = 0;
  for await (const text of streamed(authority, model, "5")) shown += text.length;
  expect([shown, aborted, await spent()]).toEqual([500, false, [[777, 0]]]);

  for await (const _ of streamed(authority, model, "9")) break;
  expect([aborted, await spent()]).toEqual([true, [[777 + 101, 0]]]);

  shown = 0;
  const endless = (async () => {
    for await (const text of streamed(authority, model, "9999")) shown += text.length;
  })();
  await expect(endless).rejects.toMatchObject({ code: "BUDGET_EXHAUSTED" });
  // All that the budget has left, and at most one chunk beyond it.
  expect(shown).toBeGreaterThan(2_122 - 100);
  expect(shown).toBeLessThanOrEqual(2_122 + 100);
});

test("examples/lease.ts: spends a slice, gives back the rest, and is charged what it spent", async () => {
  const authority = new LocalAuthority({ tenant: "acme", now: Date.now });
  const allocated = { unit: "TOKENS", amount: 10_000 } as const;
  authority.ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated });
  const model = async (prompt: string) => ({ text: `${prompt}!`, input: 100, output: 50 });
  expect(await answerAll(authority, ["a", "b", "c"], model)).toEqual(["a!", "b!", "c!"]);
  expect(await authority.balances()).toMatchObject([{ spent: 450, reserved: 0, remaining: 9_550 }]);
});

test("examples/tenants.ts: holds what was really used, and gives back exactly that", async () => {
  expect(await answer("acme", async () => 900)).toBe(900);
  const busy = answer("acme", () => new Promise((resolve) => setTimeout(() => resolve(7_000), 0)));
  expect(await answer("acme", async () => 800)).toBe(2_000);
  expect(await busy).toBe(7_000);
});

test("examples/graph.ts: refuses before the first stage, or pays for each one", async () => {
  const inner = { execute: async (id: string, input: unknown) => `${id}(${JSON.stringify(input)})` };
  expect(await brief("q", inner, 12)).toBe("needs 13 to 22 cents");
  expect(await brief("q", inner, 13)).toBe('summarise({"a":"search(\\"q\\")","b":"search(\\"q\\")"})');
});

test("examples/limits.ts: runs within rate and slots, and says when to come back", async () => {
  const answers: unknown[] = [];
  // The clock is the real one: however slow the machine, calls come faster than eight a second at some time.
  do answers.push(await runTool(async () => "ran"));
  while (answers.at(-1) === "ran");
  expect(answers.length).toBeGreaterThan(20);
  expect(answers.at(-1)).toEqual({ retryAfterMs: expect.any(Number) });
});

test("examples/fit.ts: answers get shorter as the budget ends, and then there are none", async () => {
  const asked: number[] = [];
  const model = async (prompt: string, maxTokens: number) => {
    asked.push(maxTokens);
    return { text: "…", input: prompt.length, output: maxTokens };
  };
  const prompt = "x".repeat(500);
  for (let call = 0; call < 3; call++) await write(prompt, model);
  expect(asked).toEqual([4_000, 4_000, 500]);
  await expect(write(prompt, model)).rejects.toMatchObject({
    code: "BUDGET_DENIED",
    denial: { requested: 700 },
  });
});

test("examples/estimates.ts: calls share one hard limit, and the last answers end where it does", async () => {
  let billed = 0;
  async function* stream() {
    billed += 1_000;
    for (let piece = 0; piece < 500; piece++) {
      billed += 8;
      yield { text: ".", tokens: 8 };
    }
  }
  const lengths: number[] = [];
  const ask = async () => lengths.push((await summarise("…", 1_000, stream)).length);
  const refused = await Promise.allSettled(Array.from({ length: 40 }, ask)).then((all) =>
    all.filter(({ status }) => status === "rejected"),
  );
  expect(lengths[0]).toBe(500);
  expect(refused.length).toBeGreaterThan(0);
  expect(billed).toBeLessThanOrEqual(100_000);
  expect(billed).toBeGreaterThan(90_000);
});

test("examples/all-of.ts: takes tokens, a request and a stream together, and gives back what is not used", async () => {
  const reply = { text: "hello", input: 20_000, output: 10_000 };
  let finish: (() => void) | undefined;
  const busy = [1, 2].map(() =>
    stream(() => new Promise((resolve) => (finish = () => resolve(reply))), 30_000),
  );
  expect(await stream(async () => reply, 30_000)).toBe("refused: HELD_BY_INFLIGHT"); // no stream is free
  finish?.();
  expect(await busy[1]).toBe("hello");
  const failing = stream(() => Promise.reject(new Error("no model")), 30_000);
  await expect(failing).rejects.toThrow("no model");
  expect(await stream(async () => reply, 40_000)).toBe("hello"); // what the failed one had taken is back
  expect(await stream(async () => reply, 40_001)).toBe("refused: EXHAUSTED");
});
