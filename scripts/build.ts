// Builds everything that is not written by hand: the wasm artefacts, the constants they share with TypeScript, and
// dist/. Does nothing when no input has changed since the last build. `node scripts/build.ts [--force]`
//
//   assembly/ ──asc──▶ build/kernel.shared.wasm ──one byte──▶ build/kernel.wasm
//                      build/accounts.wasm, the authority's arithmetic alone
//                      build/*.debug.wasm (unoptimised; tests run on them too)
//   assembly/{abi,status}.ts ──▶ src/kernel/generated/abi.ts      the wasm files ──▶ src/kernel/generated/bytes.ts
//   src/index.ts ──esbuild──▶ dist/index.js      src/index.workerd.ts ──▶ dist/index.workerd.js (+ dist/kernel.wasm)
//   src/ ──tsc──▶ dist/**/*.d.ts

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";
import { encodeWasm } from "../src/kernel/wasm-text.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const at = (...parts: string[]): string => join(root, ...parts);

const OUTPUTS = ["build/kernel.wasm", "src/kernel/generated/bytes.ts", "dist/index.js", "dist/index.d.ts"];
/** Targets of asconfig.json, each with its entry. */
const WASM_TARGETS = [
  ["shared", "index"],
  ["debug", "index"],
  ["accounts", "accounts"],
  ["accounts-debug", "accounts"],
] as const;
/** What is bundled, each alone: src/<entry>.ts becomes dist/<entry>.js. */
const ENTRIES = [
  "index",
  "index.workerd",
  "ledger",
  "ledger.workerd",
  "client",
  "estimates",
  "tabs",
  "tokens",
  "journal/indexeddb",
  "journal/file",
];
/** The one that may import Node's modules; its declarations are made apart, so that no other sees Node's types. */
const NODE_ENTRY = "journal/file";
const STAMP = at("build", "stamp");

/** One hash over every file that the build reads, by name and content. */
function inputsHash(): string {
  const hash = createHash("sha256");
  const single = [
    "asconfig.json",
    "package.json",
    "tsconfig.base.json",
    "tsconfig.build.json",
    "tsconfig.build.node.json",
    "scripts/build.ts",
  ];
  const files = [...single, ...filesBelow("assembly"), ...filesBelow("src")];
  for (const file of files.filter((name) => !name.includes("generated"))) {
    hash.update(`${file}\0`).update(readFileSync(at(file)));
  }
  return hash.digest("hex");
}

function filesBelow(folder: string): string[] {
  const entries = readdirSync(at(folder), { withFileTypes: true, recursive: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1)).sort();
}

/** Runs an installed package's command with this very Node. */
function runBin(script: string, args: readonly string[]): void {
  const { status } = spawnSync(process.execPath, [at("node_modules", script), ...args], {
    cwd: root,
    stdio: "inherit",
  });
  if (status === 0) return;
  console.error(`build: ${script} ${args.join(" ")} failed`);
  process.exit(1);
}

/** Where the memory import's limits flag stands: after the names "env" and "memory" and the kind byte 2. */
function memoryFlagOffset(wasm: Uint8Array): number {
  const mark = Buffer.from("\u0003env\u0006memory\u0002", "latin1");
  const found = Buffer.from(wasm).indexOf(mark);
  if (found < 0) throw new Error("the kernel imports no env.memory");
  return found + mark.length;
}

/**
 * The artefact for unshared memory is the shared one with a single byte changed, so that both are the same code,
 * optimised under the assumption that other threads exist.
 */
function unshare(shared: Uint8Array): Uint8Array {
  const unshared = Uint8Array.from(shared);
  const offset = memoryFlagOffset(unshared);
  if (unshared[offset] !== 3)
    throw new Error(`expected shared limits (3) in the memory import, found ${unshared[offset]}`);
  unshared[offset] = 1;
  return unshared;
}

function buildWasm(): void {
  mkdirSync(at("build"), { recursive: true });
  for (const [target, entry] of WASM_TARGETS) {
    runBin("assemblyscript/bin/asc.js", [`assembly/${entry}.ts`, "--target", target]);
  }
  writeFileSync(at("build/kernel.wasm"), unshare(readFileSync(at("build/kernel.shared.wasm"))));
}

/**
 * Turns the enumerations and limits of assembly/ into constants for TypeScript. An enumeration becomes a module of its own:
 * of `import * as Status` bundlers see through `Status.Ok` and keep only what is used.
 */
async function generateAbi(): Promise<void> {
  const head =
    "// Generated from assembly/status.ts and assembly/abi.ts by scripts/build.ts. Do not edit.\n\n";
  const write = (name: string, lines: readonly string[]): void =>
    writeFileSync(at(`src/kernel/generated/${name}.ts`), `${head}${lines.join("\n")}\n`);
  const abi: string[] = [];
  for (const file of ["assembly/status.ts", "assembly/abi.ts"]) {
    const { code } = await esbuild.transform(readFileSync(at(file), "utf8"), { loader: "ts", format: "esm" });
    const module: Record<string, unknown> = await import(`data:text/javascript,${encodeURIComponent(code)}`);
    for (const [name, value] of Object.entries(module)) {
      if (typeof value === "number") {
        abi.push(`export const ${name} = ${value};`);
        continue;
      }
      const members = Object.entries(value as Record<string, number>).filter(([key]) =>
        Number.isNaN(Number(key)),
      );
      write(
        name,
        members.map(([key, number]) => `export const ${key} = ${number};`),
      );
      abi.push(`export * as ${name} from "./${name}.ts";`);
    }
  }
  write("abi", abi);
}

/** The wasm as text. Both kernels as one: they differ in one byte, so the second is told by where that byte stands. */
function generateBytes(): string {
  const wasm = readFileSync(at("build/kernel.wasm"));
  const accounts = readFileSync(at("build/accounts.wasm"));
  return [
    "// Generated from build/kernel.wasm and build/accounts.wasm by scripts/build.ts. Do not edit.",
    "",
    "/** The kernel for unshared memory, as src/kernel/wasm-text.ts writes it. */",
    `export const KERNEL_TEXT =\n  "${encodeWasm(wasm)}";`,
    "",
    "/** The byte that becomes 3 in the kernel for shared memory. */",
    `export const MEMORY_FLAG_OFFSET = ${memoryFlagOffset(wasm)};`,
    "",
    "/** The authority's arithmetic. */",
    `export const ACCOUNTS_TEXT =\n  "${encodeWasm(accounts)}";`,
    "",
  ].join("\n");
}

async function generate(): Promise<void> {
  mkdirSync(at("src/kernel/generated"), { recursive: true });
  await generateAbi();
  writeFileSync(at("src/kernel/generated/bytes.ts"), generateBytes());
}

/** The licences of the packages whose code went into the bundles. */
function notices(inputs: readonly string[]): string {
  const packages = new Set(
    inputs.map((input) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? ""),
  );
  packages.delete("");
  const texts = [...packages].sort().map((name) => {
    const folder = at("node_modules", name);
    const licence = readdirSync(folder).find((file) => /^licen[cs]e/i.test(file));
    if (licence === undefined) throw new Error(`${name} is bundled and has no licence file`);
    return `${name}\n\n${readFileSync(join(folder, licence), "utf8").trim()}\n`;
  });
  const head = "The bundles beside this file contain parts of these packages.\n\n";
  return head + texts.join(`\n${"-".repeat(80)}\n\n`);
}

const wasmBeside: esbuild.Plugin = {
  name: "wasm-beside",
  setup(build) {
    build.onResolve({ filter: /\.wasm$/ }, ({ path }) => ({ path: `./${basename(path)}`, external: true }));
  },
};

/** Each entry is bundled alone, so that no shared chunk appears that a consumer's bundler would have to follow. */
async function buildDist(): Promise<void> {
  rmSync(at("dist"), { recursive: true, force: true });
  const options = {
    bundle: true,
    metafile: true,
    format: "esm",
    target: "es2022",
    platform: "neutral",
    sourcemap: true,
    sourcesContent: false,
    legalComments: "inline",
    minifySyntax: true, // folds constants, so that unused ones can be left out
    logLevel: "warning",
  } satisfies esbuild.BuildOptions;
  const inputs: string[] = [];
  for (const entry of ENTRIES) {
    const entryPoints = [at("src", `${entry}.ts`)];
    const outfile = at("dist", `${entry}.js`);
    const external = entry === NODE_ENTRY ? ["node:*"] : [];
    const built = await esbuild.build({ ...options, entryPoints, outfile, external, plugins: [wasmBeside] });
    inputs.push(...Object.keys(built.metafile.inputs));
  }
  writeFileSync(at("dist/THIRD-PARTY-NOTICES.txt"), notices(inputs));
  for (const file of ["kernel.wasm", "kernel.shared.wasm", "accounts.wasm"]) {
    copyFileSync(at("build", file), at("dist", file));
  }
  writeFileSync(
    at("dist/kernel.wasm.d.ts"),
    "declare const module: WebAssembly.Module;\nexport default module;\n",
  );
  runBin("typescript/bin/tsc", ["-p", "tsconfig.build.json"]);
  runBin("typescript/bin/tsc", ["-p", "tsconfig.build.node.json"]);
}

const hash = inputsHash();
const isFresh =
  existsSync(STAMP) &&
  readFileSync(STAMP, "utf8") === hash &&
  OUTPUTS.every((output) => existsSync(at(output)));
if (!isFresh || process.argv.includes("--force")) {
  const startedMs = performance.now();
  rmSync(STAMP, { force: true });
  buildWasm();
  await generate();
  await buildDist();
  writeFileSync(STAMP, hash);
  console.log(`build: kernel and dist built in ${Math.round(performance.now() - startedMs)} ms`);
}
