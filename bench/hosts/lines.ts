// Lines of text from a child process, and its end. Called by the hosts that talk to one.

import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

/** Resolves with each next line of a stream; rejects when the stream has ended. */
export function lineReader(stream: Readable, what: string): () => Promise<string> {
  const lines = createInterface({ input: stream })[Symbol.asyncIterator]();
  return async () => {
    const next = await lines.next();
    if (next.done === true) throw new Error(`${what} ended before it answered`);
    return next.value;
  };
}

/** Ends a child if making a session of it fails, since nobody else knows of it yet. */
export async function orEndChild<T>(child: ChildProcess, make: () => Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    await endChild(child);
    throw error;
  }
}

/** Asks a child to end and waits until it has; a child that has ended already is fine. */
export async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await ended;
}
