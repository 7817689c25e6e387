// The contenders as files for runtimes that load no TypeScript. The library in them is the built one, by the package's
// own name and the runtime's condition. Called by workerd.ts and chromium.ts.

import { copyFile, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import * as esbuild from "esbuild";
import { BUILD, ROOT } from "../../scripts/lib/project.ts";

/** Bundles each entry of bench/hosts alone and returns the folder with `<entry>.js`. */
export async function bundle(
  name: string,
  entries: readonly string[],
  conditions: string[],
): Promise<string> {
  const folder = join(BUILD, "bench", name);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await esbuild.build({
    entryPoints: entries.map((entry) => join(ROOT, "bench/hosts", `${entry}.ts`)),
    outdir: folder,
    bundle: true,
    format: "esm",
    target: "es2022",
    platform: "neutral",
    // What the package's own tests resolve by, and no paths of a tsconfig: `purser` is what ships in dist/.
    tsconfigRaw: {},
    mainFields: ["module", "main"],
    conditions,
    plugins: [kernelBeside],
    logLevel: "warning",
  });
  await copyFile(join(ROOT, "dist/kernel.wasm"), join(folder, "kernel.wasm"));
  return folder;
}

const kernelBeside: esbuild.Plugin = {
  name: "kernel-beside",
  setup(build) {
    build.onResolve({ filter: /\.wasm$/ }, () => ({ path: "./kernel.wasm", external: true }));
  },
};
