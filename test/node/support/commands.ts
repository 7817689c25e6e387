// Runs the project's own commands as a person would: as processes, with their output read line by line. Nothing here
// waits by the clock; a test waits for a line or for the end. Called by the tests of the commands.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

export const ROOT = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));

/** Booting for the first time bundles the Worker; a loaded machine takes its time. */
export const COMMAND_TIMEOUT_MS = 120_000;

export interface Finished {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCommand {
  readonly process: ChildProcess;
  /** The first line of stdout that fits, also one that came before. Rejects if the command ends without it. */
  line(pattern: RegExp): Promise<RegExpMatchArray>;
  /** When it and everything that writes to its pipes have ended. */
  readonly finished: Promise<Finished>;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** `script` is a path below scripts/. Secrets of whoever runs the tests stay out. */
export function startCommand(
  script: string,
  parameters: readonly string[],
  environment: Environment = {},
): RunningCommand {
  const child = spawn(process.execPath, [join(ROOT, "scripts", script), ...parameters], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, PURSER_ADMIN_KEY: undefined, PURSER_HASH_SECRET: undefined, ...environment },
  });
  let stdout = "";
  let stderr = "";
  const waiting = new Set<() => void>();
  const wake = (): void => {
    for (const look of waiting) look();
  };
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    stdout += chunk;
    wake();
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    stderr += chunk;
  });
  let isFinished = false;
  const finished = new Promise<Finished>((resolve) => {
    child.once("close", (exitCode) => {
      isFinished = true;
      wake();
      resolve({ exitCode, stdout, stderr });
    });
  });
  const line = (pattern: RegExp): Promise<RegExpMatchArray> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const complete = stdout.slice(0, stdout.lastIndexOf("\n") + 1).split("\n");
        const match = complete.map((it) => it.match(pattern)).find((it) => it !== null);
        if (match === undefined && !isFinished) return;
        waiting.delete(look);
        if (match !== undefined) resolve(match);
        else reject(new Error(`the command ended without a line like ${pattern}:\n${stdout}${stderr}`));
      };
      waiting.add(look);
      look();
    });
  return { process: child, line, finished };
}

export function runToEnd(
  script: string,
  parameters: readonly string[],
  environment: Environment = {},
): Promise<Finished> {
  return startCommand(script, parameters, environment).finished;
}

/** A folder of the test's own, gone when the test is. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "purser-test-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Ends what a failed test left running; does nothing after a test that ended it itself. */
export function disposable(command: RunningCommand): AsyncDisposable {
  return {
    [Symbol.asyncDispose]: async () => {
      command.process.kill("SIGTERM");
      await command.finished;
    },
  };
}

export interface Call {
  readonly context: number;
  readonly generated: number;
}

export async function writeTrace(folder: string, calls: readonly Call[]): Promise<string> {
  const file = join(folder, "trace.csv");
  const rows = calls.map(
    (call, index) =>
      `2023-11-16 18:17:${String(index % 60).padStart(2, "0")}.0,${call.context},${call.generated}`,
  );
  await writeFile(file, `${["TIMESTAMP,ContextTokens,GeneratedTokens", ...rows].join("\n")}\n`);
  return file;
}

export function totalTokens(calls: readonly Call[]): number {
  return calls.reduce((sum, call) => sum + call.context + call.generated, 0);
}

export function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
