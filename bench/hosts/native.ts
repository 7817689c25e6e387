// The Rust program of native/, compiled here when there is a compiler and kept as long as its sources and the compiler
// stay the same. One process a session, asked line by line.

import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { BUILD, ROOT } from "../../scripts/lib/project.ts";
import type { Absent, Host } from "./host.ts";
import { endChild, lineReader, orEndChild } from "./lines.ts";

const SOURCES = join(ROOT, "bench/native");
const FLAGS = ["-C", "opt-level=3", "-C", "codegen-units=1", "--edition", "2021"];

export function findNative(): Host | Absent {
  const asked = spawnSync("rustc", ["--version"], { encoding: "utf8" });
  if (asked.status !== 0) {
    return {
      runtime: "native",
      reason: "no rustc on this machine (https://rustup.rs): nothing is compared with Rust",
    };
  }
  const version = asked.stdout.trim();
  const program = compile(version);
  return {
    runtime: "native",
    description: `${version}, ${FLAGS.slice(0, 4).join(" ")}`,
    async open(contender, warmUpMs) {
      const child = spawn(program, { stdio: ["pipe", "pipe", "inherit"] });
      const nextLine = lineReader(child.stdout, `the native case ${contender}`);
      const round = async (roundMs: number): Promise<number> => {
        child.stdin.write(`${contender} ${roundMs}\n`);
        return Number(await nextLine());
      };
      await orEndChild(child, () => round(warmUpMs));
      return { round, close: () => endChild(child) };
    },
    close: async () => {},
  };
}

function compile(version: string): string {
  const hash = createHash("sha256").update(`${version}\n${FLAGS.join(" ")}\n`);
  for (const name of readdirSync(SOURCES).sort()) hash.update(name).update(readFileSync(join(SOURCES, name)));
  const folder = join(BUILD, "bench");
  const program = join(folder, `native-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(program)) return program;
  mkdirSync(folder, { recursive: true });
  const compiled = spawnSync("rustc", [...FLAGS, "-o", program, join(SOURCES, "main.rs")], {
    encoding: "utf8",
  });
  if (compiled.status !== 0) throw new Error(`rustc could not compile bench/native:\n${compiled.stderr}`);
  return program;
}
