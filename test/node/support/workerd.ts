// One Worker in workerd on a port of its own, from what wrangler bundled. It reaches this machine and nothing else.
// Called by the tests of the package's consumers and of requests that wait for each other.

import { spawn } from "node:child_process";
import { cp, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { runTool } from "../../../scripts/lib/project.ts";
import { workerdBinary } from "../../../scripts/lib/workerd-binary.ts";

export interface RunningWorker {
  readonly url: string;
  stop(): Promise<void>;
}

/** Bundles the Worker of a folder with a wrangler.toml, as a deployment would, `into` another. Returns workerd's configuration. */
export async function bundleWorker(
  folder: string,
  compatibilityDate: string,
  into = folder,
): Promise<string> {
  const raw = join(into, "bundle");
  const bundled = join(into, "worker");
  const config = join(folder, "wrangler.toml");
  const ended = await runTool(
    "wrangler/bin/wrangler.js",
    ["deploy", "--dry-run", "--outdir", raw, "--config", config],
    {
      output: "collect",
      env: { WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", WRANGLER_WRITE_LOGS: "false" },
    },
  );
  if (!ended.ok) throw new Error(`wrangler could not bundle the consumer:\n${ended.output}`);
  await mkdir(bundled);
  const files = (await readdir(raw)).filter((name) => /\.(js|wasm)$/.test(name));
  for (const name of files) await cp(join(raw, name), join(bundled, name));
  const entry = files.filter((name) => name.endsWith(".js"));
  const modules = [...entry, ...files.filter((name) => !entry.includes(name))].map((name) => {
    const kind = name.endsWith(".wasm") ? "wasm" : "esModule";
    return `(name = ${JSON.stringify(name)}, ${kind} = embed ${JSON.stringify(name)})`;
  });
  const text = `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "consumer", worker = .consumer),
    (name = "machine", network = (allow = ["private", "local"])),
  ],
  sockets = [(name = "http", http = (), service = "consumer")],
);

const consumer :Workerd.Worker = (
  modules = [${modules.join(", ")}],
  compatibilityDate = ${JSON.stringify(compatibilityDate)},
  globalOutbound = "machine",
);
`;
  const path = join(bundled, "consumer.capnp");
  await writeFile(path, text);
  return path;
}

export async function startWorker(config: string): Promise<RunningWorker> {
  const child = spawn(
    workerdBinary(),
    ["serve", config, "--socket-addr=http=127.0.0.1:0", "--control-fd=3"],
    { stdio: ["ignore", "inherit", "pipe", "pipe"] },
  );
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let complaints = "";
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => {
    complaints += chunk;
  });
  const port = await new Promise<number>((resolve, reject) => {
    let text = "";
    (child.stdio[3] as Readable).setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      const [, found] = /"port":(\d+)/.exec(text) ?? [];
      if (found !== undefined) resolve(Number(found));
    });
    void ended.then(() => reject(new Error(`workerd ended before it listened:\n${complaints}`)));
  });
  return {
    url: `http://127.0.0.1:${port}`,
    stop: () => {
      child.kill("SIGTERM");
      return ended;
    },
  };
}
