// Where the checkout is, and how one of its tools is run to its end. No tool is looked up outside node_modules.
import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Everything that is made from the sources; never committed, safe to delete. */
export const BUILD = join(ROOT, "build");

export interface Ended {
  readonly ok: boolean;
  readonly exitCode: number;
  /** What the tool printed, stdout and stderr in the order of arrival; empty when it wrote to the terminal itself. */
  readonly output: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** "inherit" shows the tool's output as it comes; "collect" hands it back, to be shown when it matters. */
  readonly output: "inherit" | "collect";
  readonly signal?: AbortSignal;
}

/** Runs a JavaScript tool of node_modules, given by its path in there, with the Node that runs this. */
export function runTool(path: string, toolArguments: readonly string[], options: RunOptions): Promise<Ended> {
  const absolute = join(ROOT, "node_modules", path);
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [absolute, ...toolArguments], {
      cwd: ROOT,
      env: { ...process.env, ...options.env },
      stdio: options.output === "inherit" ? "inherit" : ["ignore", "pipe", "pipe"],
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    const chunks: Buffer[] = [];
    child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.stderr?.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.once("error", (error) => {
      if (options.signal?.aborted) return;
      reject(error);
    });
    child.once("close", (code) => {
      const exitCode = code ?? 1;
      resolve({ ok: exitCode === 0, exitCode, output: Buffer.concat(chunks).toString("utf8") });
    });
  });
}
