// Contenders in workerd, the real binary that wrangler depends on: one process each, asked over HTTP.
// Clocks run in a local workerd, in steps of a millisecond; in production they stand still between I/O.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import type { Readable } from "node:stream";
import { workerdBinary } from "../../scripts/lib/workerd-binary.ts";
import { WORKERD_READY_MS_MAX } from "../settings.ts";
import { bundle } from "./bundle.ts";
import type { Host } from "./host.ts";
import { endChild, lineReader, orEndChild } from "./lines.ts";

const CONFIG = `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "bench", worker = .bench)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "bench")],
);

const bench :Workerd.Worker = (
  modules = [
    (name = "workerd-worker.js", esModule = embed "workerd-worker.js"),
    (name = "kernel.wasm", wasm = embed "kernel.wasm"),
  ],
  compatibilityDate = "2026-06-01",
);
`;

export async function workerdHost(): Promise<Host> {
  const binary = workerdBinary();
  const folder = await bundle("workerd", ["workerd-worker"], ["workerd"]);
  const config = join(folder, "bench.capnp");
  await writeFile(config, CONFIG);
  return {
    runtime: "workerd",
    description: spawnSync(binary, ["--version"], { encoding: "utf8" }).stdout.trim(),
    async open(contender, warmUpMs) {
      const child = spawn(binary, ["serve", config, "--control-fd=3"], {
        env: {},
        stdio: ["ignore", "inherit", "inherit", "pipe"],
      });
      const endWithUs = (): void => {
        child.kill("SIGKILL");
      };
      process.on("exit", endWithUs);
      child.once("exit", () => process.off("exit", endWithUs));
      return orEndChild(child, async () => {
        const port = await listeningPort(child);
        const ask = async (step: string, ms: number): Promise<number> => {
          const response = await fetch(`http://127.0.0.1:${port}/${step}?contender=${contender}&ms=${ms}`);
          const text = await response.text();
          if (!response.ok) throw new Error(`${contender} in workerd: ${text}`);
          return Number(text);
        };
        await ask("open", warmUpMs);
        return { round: (roundMs) => ask("round", roundMs), close: () => endChild(child) };
      });
    },
    close: async () => {},
  };
}

/** workerd writes one JSON line per socket on the control descriptor once it listens. */
export async function listeningPort(child: ChildProcess): Promise<number> {
  const nextLine = lineReader(child.stdio[3] as Readable, "workerd");
  const guard = setTimeout(() => child.kill("SIGKILL"), WORKERD_READY_MS_MAX);
  try {
    const message: { port: number } = JSON.parse(await nextLine());
    return message.port;
  } finally {
    clearTimeout(guard);
  }
}
