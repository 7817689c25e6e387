// The empty Worker and the empty object as a process, to measure everything else against. Called by edge.ts.

import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { workerdBinary } from "../../scripts/lib/workerd-binary.ts";
import { endChild, orEndChild } from "../hosts/lines.ts";
import { listeningPort } from "../hosts/workerd.ts";

export interface EmptyServer {
  readonly url: string;
  stop(): Promise<void>;
}

export async function startEmptyServer(): Promise<EmptyServer> {
  const config = fileURLToPath(new URL("empty.capnp", import.meta.url));
  const child = spawn(workerdBinary(), ["serve", config, "--control-fd=3"], {
    env: {},
    stdio: ["ignore", "inherit", "inherit", "pipe"],
  });
  const endWithUs = (): void => {
    child.kill("SIGKILL");
  };
  process.on("exit", endWithUs);
  child.once("exit", () => process.off("exit", endWithUs));
  const port = await orEndChild(child, () => listeningPort(child));
  return { url: `http://127.0.0.1:${port}`, stop: () => endChild(child) };
}
