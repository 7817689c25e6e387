// `npm start` as a process, on short generated traces: the table's figures, agreement to the token, budgets that run
// out, data that is used again, serving on, and every kind of bad input in one sentence.
import { execFileSync } from "node:child_process";
import { open, readdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, test } from "vitest";
import {
  type Call,
  COMMAND_TIMEOUT_MS,
  disposable,
  runToEnd,
  startCommand,
  temporaryFolder,
  totalTokens,
  writeTrace,
} from "./support/commands.ts";

const HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens";

/** 600 calls of very different sizes; every one fits the default output cap. */
const CALLS: readonly Call[] = Array.from({ length: 600 }, (_, index) => ({
  context: 50 + ((index * 7919) % 6000),
  generated: (index * 104_729) % 2048,
}));

/** The rows of the closing table: the first number of each column, by the row's name. */
function tableOf(stdout: string): Map<string, { here: number; there: number | null; agree: string }> {
  const rows = new Map<string, { here: number; there: number | null; agree: string }>();
  for (const line of stdout.split("\n")) {
    const [, name, here, there, agree] = line.split("│").map((cell) => cell.trim());
    if (name === undefined || here === undefined || !/^[\d,]+$/.test(here)) continue;
    rows.set(name, { here: numberOf(here), there: there ? numberOf(there) : null, agree: agree ?? "" });
  }
  return rows;
}

function numberOf(text: string): number {
  return Number(text.replaceAll(",", ""));
}

function start(parameters: readonly string[], environment: Record<string, string> = {}) {
  return runToEnd("start.ts", ["--port", "0", "--exit", ...parameters], environment);
}

describe("npm start", { timeout: COMMAND_TIMEOUT_MS }, () => {
  test("with budget enough: every call is admitted, and every token is accounted for", async ({ expect }) => {
    await using folder = await temporaryFolder();
    const trace = await writeTrace(folder.path, CALLS);
    const spent = totalTokens(CALLS);
    // Enough for all calls and for what all of them may have reserved at once.
    const budget = spent + 1_000_000;
    const run = await start(["--trace", trace, "--threads", "3", "--budget", String(budget)]);
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });

    const table = tableOf(run.stdout);
    const own = (here: number) => ({ here, there: null, agree: "" });
    const agreed = (value: number) => ({ here: value, there: value, agree: "✓" });
    expect(table.get("calls")).toEqual(own(600));
    expect(table.get("admitted")).toEqual(own(600));
    expect(table.get("denied")).toEqual(own(0));
    expect(table.get("budget (allocated)")).toEqual(agreed(budget));
    expect(table.get("tokens spent")).toEqual(agreed(spent));
    expect(table.get("tokens reserved")).toEqual(agreed(0));
    expect(table.get("tokens remaining")).toEqual(agreed(1_000_000));
    expect(table.get("overspend")).toEqual(own(0));
    expect(table.get("open holds at the end")).toEqual(own(0));
    expect(table.get("decisions per second")?.here).toBeGreaterThan(0);
    // One to open the lease, some to enlarge it, one to return it.
    const authorityCalls = table.get("authority calls")?.here ?? 0;
    expect(authorityCalls).toBeGreaterThan(2);
    expect(authorityCalls).toBeLessThan(600 / 4);
    expect(table.get("most tokens out at once")?.here).toBeLessThanOrEqual(budget);
    expect(run.stdout).toContain("threads, kernels and authority agree to the token");
    expect(run.stdout).toMatch(/^replayed 600 of 600 calls \(100 %\)$/m);
  });

  test("without a budget given: 80 % of the trace, so calls are denied and nothing is overspent", async ({
    expect,
  }) => {
    await using folder = await temporaryFolder();
    const trace = await writeTrace(folder.path, CALLS);
    const budget = Math.floor((totalTokens(CALLS) * 80) / 100);
    const run = await start(["--trace", trace, "--threads", "4"]);
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });

    const table = tableOf(run.stdout);
    const here = (row: string): number => table.get(row)?.here ?? Number.NaN;
    expect(here("budget (allocated)")).toBe(budget);
    expect(here("admitted") + here("denied")).toBe(600);
    expect(here("denied")).toBeGreaterThan(0);
    expect(here("overspend")).toBe(0);
    expect(here("open holds at the end")).toBe(0);
    expect(here("tokens spent")).toBeLessThanOrEqual(budget);
    for (const row of ["budget (allocated)", "tokens spent", "tokens reserved", "tokens remaining"]) {
      expect({ row, ...table.get(row) }).toEqual({ row, here: here(row), there: here(row), agree: "✓" });
    }
  });

  test("several processes lease from one budget, and agree", async ({ expect }) => {
    await using folder = await temporaryFolder();
    const trace = await writeTrace(folder.path, CALLS);
    const run = await start(["--trace", trace, "--processes", "3", "--threads", "2"]);
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    const table = tableOf(run.stdout);
    const here = (row: string): number => table.get(row)?.here ?? Number.NaN;
    expect(here("admitted") + here("denied")).toBe(600);
    expect(here("overspend")).toBe(0);
    expect(table.get("tokens spent")?.agree).toBe("✓");
    expect(table.get("tokens reserved")).toEqual({ here: 0, there: 0, agree: "✓" });
  });

  test("holders that are killed and cut off overspend nothing, and what they had is accounted for", async ({
    expect,
  }) => {
    await using folder = await temporaryFolder();
    const trace = await writeTrace(folder.path, CALLS);
    const run = await start([
      ...["--trace", trace, "--processes", "3", "--threads", "1"],
      ...["--chaos", "--seed", "7", "--seconds", "5"],
    ]);
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    const [, killed, cut] = run.stdout.match(/^purser: chaos: (\d+) killed, (\d+) cut off$/m) ?? [];
    expect(Number(killed)).toBeGreaterThan(0);
    expect(Number(cut)).toBeGreaterThan(0);
    const table = tableOf(run.stdout);
    const here = (row: string): number => table.get(row)?.here ?? Number.NaN;
    expect(here("admitted") + here("denied")).toBe(600);
    expect(here("overspend")).toBe(0);
    for (const row of ["budget (allocated)", "tokens spent", "tokens reserved", "tokens remaining"]) {
      expect({ row, ...table.get(row) }).toEqual({ row, here: here(row), there: here(row), agree: "✓" });
    }
  });

  test("the last tokens are used too: less is left than the largest call reserves", async ({ expect }) => {
    await using folder = await temporaryFolder();
    const trace = await writeTrace(folder.path, CALLS);
    // One thread, so that no other one gives tokens back after the last call was decided.
    const run = await start(["--trace", trace, "--threads", "1"]);
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    const table = tableOf(run.stdout);
    expect(table.get("denied")?.here).toBeGreaterThan(0);
    const largest = Math.max(...CALLS.map((call) => call.context)) + 2048;
    expect(table.get("tokens remaining")?.here).toBeLessThan(largest);
  });

  test("a budget too small for any call: all are denied and nothing is spent", async ({ expect }) => {
    await using folder = await temporaryFolder();
    const trace = await writeTrace(folder.path, CALLS);
    const run = await start(["--trace", trace, "--budget", "100"]);
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    const table = tableOf(run.stdout);
    expect(table.get("denied")?.here).toBe(600);
    expect(table.get("tokens spent")).toEqual({ here: 0, there: 0, agree: "✓" });
    expect(table.get("tokens remaining")).toEqual({ here: 100, there: 100, agree: "✓" });
  });

  test("calls that exceed their cap are charged in full while there is budget", async ({ expect }) => {
    await using folder = await temporaryFolder();
    const calls = Array.from({ length: 40 }, () => ({ context: 10, generated: 500 }));
    const trace = await writeTrace(folder.path, calls);
    const run = await start(["--trace", trace, "--output-cap", "1", "--budget", "20400"]);
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    const table = tableOf(run.stdout);
    expect(table.get("above the output cap")?.here).toBe(40);
    expect(table.get("tokens spent")).toEqual({ here: 20_400, there: 20_400, agree: "✓" });
  });

  test("spending beyond the budget is named, and the run fails", async ({ expect }) => {
    await using folder = await temporaryFolder();
    const trace = await writeTrace(folder.path, [{ context: 10, generated: 100 }]);
    const run = await start(["--trace", trace, "--output-cap", "1", "--budget", "50"]);
    expect(run.exitCode).toBe(1);
    expect(run.stderr).toMatch(/^purser: the budget was overspent by 60 tokens: [^\n]*\n$/);
    const table = tableOf(run.stdout);
    expect(table.get("overspend")).toEqual({ here: 60, there: null, agree: "✗" });
    // The authority knows of every token, the 60 that it could not cover included.
    expect(table.get("tokens spent")).toEqual({ here: 110, there: 110, agree: "✓" });
    expect(run.stdout).toContain("The authority has recorded 60 of the tokens spent as debt.");
    expect(run.stdout).toContain("threads, kernels and authority agree to the token");
  });

  test("a data folder that owes from an earlier run is used again, and the new run agrees", async ({
    expect,
  }) => {
    await using folder = await temporaryFolder();
    const trace = await writeTrace(folder.path, [{ context: 10, generated: 100 }]);
    const parameters = ["--trace", trace, "--data", join(folder.path, "data"), "--budget"];
    expect((await start([...parameters, "50", "--output-cap", "1"])).exitCode).toBe(1);
    const second = await start([...parameters, "5000"]);
    expect(second).toMatchObject({ exitCode: 0, stderr: "" });
    expect(tableOf(second.stdout).get("tokens spent")).toEqual({ here: 110, there: 110, agree: "✓" });
    expect(second.stdout).toContain("110 tokens were spent before, 220 of 5,110 in all");
  });

  test("a data folder used again keeps what was spent, and the new run still agrees", async ({ expect }) => {
    await using folder = await temporaryFolder();
    const trace = await writeTrace(folder.path, CALLS);
    const data = join(folder.path, "data");
    const spent = totalTokens(CALLS);
    const budget = spent + 1_000_000;
    const parameters = ["--trace", trace, "--data", data, "--budget", String(budget)];
    expect(await start(parameters)).toMatchObject({ exitCode: 0, stderr: "" });
    const second = await start(parameters);
    expect(second).toMatchObject({ exitCode: 0, stderr: "" });
    expect(tableOf(second.stdout).get("tokens spent")).toEqual({ here: spent, there: spent, agree: "✓" });
    const shown = (value: number): string => value.toLocaleString("en-US");
    expect(second.stdout).toContain(
      `${shown(spent)} tokens were spent before, ${shown(2 * spent)} of ${shown(spent + budget)} in all`,
    );
  });

  test("without a trace it replays a sample that it calls synthetic", async ({ expect }) => {
    const run = await start([]);
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    expect(run.stdout).toMatch(/^purser: trace: synthetic sample .*4,000 calls/m);
    expect(tableOf(run.stdout).get("calls")?.here).toBe(4000);
  });

  test("without --exit it serves on until Ctrl-C, then leaves nothing behind", async ({ expect }) => {
    await using folder = await temporaryFolder();
    const trace = await writeTrace(folder.path, CALLS.slice(0, 20));
    const command = startCommand("start.ts", ["--trace", trace, "--budget", "10000000", "--port", "0"], {
      TMPDIR: folder.path,
    });
    await using _command = disposable(command);
    const [, key = "", url = ""] = await command.line(/curl -H "X-Cycles-API-Key: (\S+)" "(\S+)"$/);
    const response = await fetch(url, { headers: { "X-Cycles-API-Key": key } });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      balances: [
        { scope_path: "tenant:demo", spent: { unit: "TOKENS", amount: totalTokens(CALLS.slice(0, 20)) } },
      ],
    });
    command.process.kill("SIGINT");
    expect(await command.finished).toMatchObject({ exitCode: 0, stderr: "" });
    await expect(fetch(url)).rejects.toThrow();
    expect(await readdir(folder.path)).toEqual(["trace.csv"]);
  });

  test("runs through the door that npm uses", async ({ expect }) => {
    await using folder = await temporaryFolder();
    const trace = await writeTrace(folder.path, CALLS.slice(0, 50));
    const run = await runToEnd("run.mjs", ["start", "--trace", trace, "--port", "0", "--exit"]);
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    expect(tableOf(run.stdout).get("calls")?.here).toBe(50);
    const refused = await runToEnd("run.mjs", ["start", "--threads", "0", "--exit"]);
    expect(refused.exitCode).toBe(1);
    const unknown = await runToEnd("run.mjs", ["stroll"]);
    expect(unknown).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/^purser: "stroll" is not a command/),
    });
  });
});

describe("npm start with bad input says so in one sentence", { timeout: COMMAND_TIMEOUT_MS }, () => {
  const traces: readonly (readonly [name: string, text: string, sentence: RegExp])[] = [
    ["empty file", "", /is empty; its first line must be "TIMESTAMP,ContextTokens,GeneratedTokens"\.$/],
    ["header only", `${HEADER}\n`, /holds no calls\.$/],
    [
      "other header",
      "time,in,out\n1,2,3\n",
      /line 1: the header must be "TIMESTAMP,.*", not "time,in,out"\.$/,
    ],
    ["no header", "2023-11-16,1,2\n", /line 1: the header must be/],
    [
      "a word",
      `${HEADER}\nt,1,2\nt,many,2\n`,
      /line 3: ContextTokens must be a whole number .* not "many"\.$/,
    ],
    ["a fraction", `${HEADER}\nt,1,2.5\n`, /line 2: GeneratedTokens must be a whole number .* not "2\.5"\.$/],
    ["a negative", `${HEADER}\r\nt,1,2\r\nt,-1,2\r\n`, /line 3: ContextTokens .* not "-1"\.$/],
    ["too large", `${HEADER}\nt,9007199254740992,2\n`, /line 2: ContextTokens .* not "9007199254740992"\.$/],
    ["too much in all", `${HEADER}\nt,9007199254740991,1\n`, /add up to more than 2\^53−1\.$/],
    ["a missing field", `${HEADER}\nt,1,2\nt,1\n`, /line 3: a line has 3 fields, this one has 2\.$/],
    ["a field too many", `${HEADER}\nt,1,2,3\n`, /line 2: a line has 3 fields, this one has 4\.$/],
    [
      "a binary file",
      "\u0000\u0007\u001b[31mELF\u009b\r\n",
      /line 1: the header must be "TIMESTAMP,.*", not "[^\p{C}]*ELF[^\p{C}]*"\.$/u,
    ],
    [
      "a count with control characters",
      `${HEADER}\nt,\u001b[2J,2\n`,
      /line 2: ContextTokens .* not "\ufffd\[2J"\.$/,
    ],
    ["a very long line", `${"x".repeat(10_000)}\n`, /line 1: the header must be .*, not "x{80}…"\.$/],
    ["a stray quote", `${HEADER}\nt,"1,2\nt,1,2\n`, /line 2: ContextTokens .* not ""1"\.$/],
  ];
  test.for(traces)("trace: %s", async ([, text, sentence], { expect }) => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "trace.csv");
    await writeFile(file, text);
    const { exitCode, stdout, stderr } = await start(["--trace", file]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
    expect(stderr).toMatch(/^purser: [^\n]+\n$/);
    expect(stderr).toContain(file);
    expect(stderr.trimEnd()).toMatch(sentence);
  });

  const options: readonly (readonly [parameters: readonly string[], sentence: RegExp])[] = [
    [["--trace", "no/such/file.csv"], /the trace no\/such\/file\.csv cannot be read \(ENOENT\)\.$/],
    [["--trace", "."], /the trace \. cannot be read \(EISDIR\)\.$/],
    [["--threads", "0"], /'0' is invalid\. It must be a whole number from 1 to 64\.$/],
    [["--threads", "-2"], /'-2' is invalid\. It must be a whole number from 1 to 64\.$/],
    [["--threads", "1.5"], /'1\.5' is invalid\. It must be a whole number from 1 to 64\.$/],
    [["--threads", "65"], /'65' is invalid\./],
    [["--processes", "0"], /'0' is invalid\. It must be a whole number from 1 to 16\.$/],
    [["--seconds", "-1"], /'-1' is invalid\. It must be a whole number from 0 to 3600\.$/],
    [["--budget", "0"], /'0' is invalid\. It must be a whole number from 1 to 9007199254740991\.$/],
    [["--budget", "9007199254740992"], /'9007199254740992' is invalid\./],
    [["--budget", "lots"], /'lots' is invalid\./],
    [["--output-cap", "1e3"], /'1e3' is invalid\./],
    [["--speed", "9"], /unknown option '--speed'/],
    [["trace.csv"], /too many arguments/],
  ];
  test.for(options)("option: %s", async ([parameters, sentence], { expect }) => {
    const { exitCode, stdout, stderr } = await start(parameters);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
    expect(stderr).toMatch(/^purser: [^\n]+\n$/);
    expect(stderr.trimEnd()).toMatch(sentence);
  });

  test("a trace that never begins can be left by a signal", async ({ expect }) => {
    await using folder = await temporaryFolder();
    const pipe = join(folder.path, "pipe");
    execFileSync("mkfifo", [pipe]);
    const command = startCommand("start.ts", ["--trace", pipe, "--port", "0", "--exit"]);
    await using _command = disposable(command);
    // Opens once the command has opened its end: from then on it waits for a header.
    const writer = await open(pipe, "w");
    command.process.kill("SIGTERM");
    expect(await command.finished).toMatchObject({ exitCode: null, stdout: "", stderr: "" });
    expect(command.process.signalCode).toBe("SIGTERM");
    await writer.close();
  });

  test("a port that is in use", async ({ expect }) => {
    await using folder = await temporaryFolder();
    const trace = await writeTrace(folder.path, CALLS.slice(0, 5));
    const taken = createServer().listen(0, "127.0.0.1");
    try {
      await new Promise((resolve) => taken.once("listening", resolve));
      const address = taken.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      const { exitCode, stderr } = await runToEnd("start.ts", [
        "--trace",
        trace,
        "--port",
        String(port),
        "--exit",
      ]);
      expect({ exitCode, stderr }).toEqual({
        exitCode: 1,
        stderr: `purser: port ${port} on 127.0.0.1 is already in use.\n`,
      });
    } finally {
      await new Promise((resolve) => taken.close(resolve));
    }
  });
});
