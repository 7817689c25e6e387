// Contenders in Node: one child process each, with the library as it ships, from dist/.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Host } from "./host.ts";
import { endChild, orEndChild } from "./lines.ts";

/** What the child answers; every question has one answer. */
export type Answer = { readonly nanoseconds: number } | { readonly error: string };

const CHILD = fileURLToPath(new URL("node-child.ts", import.meta.url));

export function nodeHost(): Host {
  return {
    runtime: "node",
    description: `Node ${process.versions.node}, V8 ${process.versions.v8}`,
    async open(contender, warmUpMs) {
      const child = fork(CHILD, [contender, String(warmUpMs)]);
      await orEndChild(child, () => answer(child));
      const round = (roundMs: number): Promise<number> => {
        child.send(roundMs);
        return answer(child);
      };
      return { round, close: () => endChild(child) };
    },
    close: async () => {},
  };
}

async function answer(child: ChildProcess): Promise<number> {
  const ended = new AbortController();
  const died = once(child, "exit", { signal: ended.signal }).then(() => ({
    error: "the child process ended",
  }));
  const [message] = await Promise.race([
    once(child, "message", { signal: ended.signal }) as Promise<[Answer]>,
    died.then((it): [Answer] => [it]),
  ]);
  ended.abort();
  died.catch(() => {}); // the wait that lost was called off
  if ("error" in message) throw new Error(message.error);
  return message.nanoseconds;
}
