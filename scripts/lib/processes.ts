// Looking at and ending a process that is not a child of ours, known only by its pid. Called by data-folder.ts.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { STOP_MS_MAX } from "./limits.ts";

const POLL_MS = 50;

/** The command line of a running process; null if there is none, or if the system does not tell. */
export async function commandOf(pid: number): Promise<string | null> {
  try {
    if (process.platform === "linux") {
      return (await readFile(`/proc/${pid}/cmdline`, "utf8")).replaceAll("\0", " ") || null;
    }
    return (await promisify(execFile)("ps", ["-o", "args=", "-p", String(pid)])).stdout.trim() || null;
  } catch {
    return null;
  }
}

/** Asks a process to end, insists after a while, and says whether it is gone. */
export async function endProcess(pid: number): Promise<boolean> {
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    for (let waitedMs = 0; waitedMs < STOP_MS_MAX; waitedMs += POLL_MS) {
      if (!send(pid, waitedMs === 0 ? signal : 0)) return true;
      await delay(POLL_MS);
    }
  }
  return !send(pid, 0);
}

/** Whether the process was there to take the signal; signal 0 only asks. */
export function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}
