// Builds the simulation over a mutant: the sources with one text changed, bundled into build/mutants/. A mutant of the
// accounts' arithmetic is compiled with the project's own settings. Invariant: the sources themselves are never touched; a text that
// does not stand exactly once is an error, so that no mutant silently becomes the original. Called by simulate.ts and tests.
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import * as esbuild from "esbuild";
import type { Mutant } from "../../test/simulation/mutants.ts";
import { BUILD, ROOT, runTool } from "./project.ts";

const ENTRY = "test/simulation/simulate.ts";

/** Each simulation has one of its own: they have mutants of the same name, and a process loads a file only once. */
const folderOf = (entry: string): string => join(BUILD, "mutants", entry.replaceAll(/\W/g, "-"));

/**
 * @param entry - the simulation's own file, from the project's root
 * @returns the URL of a module that exports `simulate`
 */
export async function buildMutant(mutant: Mutant, entry = ENTRY): Promise<string> {
  const folder = folderOf(entry);
  await mkdir(folder, { recursive: true });
  const changed = await change(mutant);
  const isAssembly = mutant.file.startsWith("assembly/");
  const contents = isAssembly ? await compileAccounts(mutant, changed, folder) : changed;
  const path = join(ROOT, isAssembly ? "src/kernel/artefacts.inline.ts" : mutant.file);
  const outfile = join(folder, `${mutant.name}.mjs`);
  await esbuild.build({
    entryPoints: [join(ROOT, entry)],
    outfile,
    bundle: true,
    format: "esm",
    target: "es2024",
    platform: "neutral",
    logLevel: "error",
    // The package says it has no side effects, which is not true of the entry that installs the kernel.
    ignoreAnnotations: true,
    alias: { "purser/ledger": join(ROOT, "src/ledger.ts") },
    plugins: [substitute(path, contents)],
  });
  return pathToFileURL(outfile).href;
}

/** Makes room: no mutant outlives the run of its simulation. */
export async function removeMutants(entry = ENTRY): Promise<void> {
  await rm(folderOf(entry), { recursive: true, force: true });
}

async function change({ name, file, find, replace }: Mutant): Promise<string> {
  const text = await readFile(join(ROOT, file), "utf8");
  const places = text.split(find).length - 1;
  if (places !== 1) throw new Error(`mutant ${name}: its text stands ${places} times in ${file}, not once`);
  return text.replace(find, () => replace);
}

function substitute(path: string, contents: string): esbuild.Plugin {
  return {
    name: "mutant",
    setup(build) {
      build.onLoad({ filter: /\.ts$/ }, (file) =>
        file.path === path ? { contents, loader: "ts" } : undefined,
      );
    },
  };
}

/** The mutated arithmetic as the text of the module that carries the wasm. */
async function compileAccounts({ name, file }: Mutant, changed: string, parent: string): Promise<string> {
  const folder = join(parent, name);
  await cp(join(ROOT, "assembly"), join(folder, "assembly"), { recursive: true });
  await cp(join(ROOT, "asconfig.json"), join(folder, "asconfig.json"));
  await writeFile(join(folder, file), changed);
  const ended = await runTool(
    "assemblyscript/bin/asc.js",
    ["assembly/accounts.ts", "--baseDir", folder, "--config", "asconfig.json", "--target", "accounts"],
    { output: "collect" },
  );
  if (!ended.ok) throw new Error(`mutant ${name} does not compile:\n${ended.output}`);
  const wasm = await readFile(join(folder, "build/accounts.wasm"));
  // All that the ledger's entry asks of the module that carries the wasm.
  return `const hex = "${wasm.toString("hex")}";
const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const module = new WebAssembly.Module(bytes);
export const inlineAccounts = () => module;
`;
}
