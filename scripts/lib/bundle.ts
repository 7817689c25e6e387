// The Worker as workerd runs it: the bundle that `wrangler deploy` would upload, and a configuration beside it.
// Each bundle lies in a folder named after its sources' contents: it is made once, appears whole (by a rename), and two
// commands that make it at the same time cannot disturb each other. Called by authority-process.ts.
import { createHash, randomUUID } from "node:crypto";
import { cp, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { BUILD, ROOT, runTool } from "./project.ts";
import { UserError } from "./user-error.ts";
import { workerdConfig } from "./workerd-config.ts";

const BUNDLES = join(BUILD, "authority");
const CONFIG_FILE = "workerd.capnp";

/** Whatever can change the bundle or the configuration. */
const SOURCES = [
  "worker",
  "src",
  "dist",
  "build/accounts.wasm",
  "wrangler.toml",
  "package-lock.json",
  "scripts/lib/bundle.ts",
  "scripts/lib/workerd-config.ts",
];

/** An older bundle may belong to a server that is just starting; an hour later no one can still be reading it. */
const KEEP_UNUSED_MS = 3_600_000;

/** Makes the bundle unless it is there, and returns the path of workerd's configuration. The signal ends wrangler. */
export async function bundleAuthority(nowMs: number, signal?: AbortSignal): Promise<string> {
  const folder = join(BUNDLES, await hashSources());
  if (await isFolder(folder)) {
    await utimes(folder, nowMs / 1000, nowMs / 1000);
  } else {
    await makeBundle(folder, signal);
    await removeUnused(folder, nowMs);
  }
  return join(folder, CONFIG_FILE);
}

async function makeBundle(folder: string, signal?: AbortSignal): Promise<void> {
  const making = join(BUNDLES, `.making-${randomUUID()}`);
  const raw = `${making}-raw`;
  await mkdir(making, { recursive: true });
  try {
    const ended = await runTool("wrangler/bin/wrangler.js", ["deploy", "--dry-run", "--outdir", raw], {
      output: "collect",
      ...(signal !== undefined && { signal }),
      env: { WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", WRANGLER_WRITE_LOGS: "false" },
    });
    if (!ended.ok) throw new UserError(`wrangler could not bundle the Worker:\n${ended.output.trimEnd()}`);

    const files = (await readdir(raw)).filter((name) => /\.(js|wasm)$/.test(name)).sort();
    const entry = "index.js";
    if (!files.includes(entry)) throw new Error(`wrangler wrote no ${entry} among: ${files.join(", ")}`);
    for (const name of files) await cp(join(raw, name), join(making, name));
    const modules = [entry, ...files.filter((name) => name !== entry)];
    await writeFile(join(making, CONFIG_FILE), workerdConfig({ modules, ...(await readWranglerConfig()) }));

    await rename(making, folder).catch(async (error: unknown) => {
      // Another command was quicker; its bundle has the same contents.
      if (!(await isFolder(folder))) throw error;
    });
  } finally {
    await rm(making, { recursive: true, force: true });
    await rm(raw, { recursive: true, force: true });
  }
}

/** What of wrangler.toml the server has to carry over. Read by wrangler itself, so that there is one meaning of it. */
async function readWranglerConfig() {
  const { unstable_readConfig } = await import("wrangler");
  const config = unstable_readConfig({ config: join(ROOT, "wrangler.toml") });
  if (config.compatibility_date === undefined)
    throw new UserError("wrangler.toml names no compatibility_date.");
  const texts: Record<string, string> = {};
  for (const [name, value] of Object.entries(config.vars)) {
    if (typeof value !== "string")
      throw new UserError(`wrangler.toml: vars.${name} must be a text to be served.`);
    texts[name] = value;
  }
  return {
    compatibilityDate: config.compatibility_date,
    compatibilityFlags: config.compatibility_flags,
    durableObjects: config.durable_objects.bindings.map((it: { name: string; class_name: string }) => ({
      binding: it.name,
      className: it.class_name,
    })),
    texts,
  };
}

async function hashSources(): Promise<string> {
  const hash = createHash("sha256");
  for (const source of SOURCES) {
    for (const file of await filesUnder(join(ROOT, source))) {
      const bytes = await readFile(file);
      hash.update(`${relative(ROOT, file)}\n${bytes.length}\n`).update(bytes);
    }
  }
  return hash.digest("hex").slice(0, 24);
}

/** All files under a path in a fixed order; none if the path does not exist. */
async function filesUnder(path: string): Promise<string[]> {
  const about = await stat(path).catch(() => null);
  if (about === null) return [];
  if (!about.isDirectory()) return [path];
  const files: string[] = [];
  for (const name of (await readdir(path)).sort()) files.push(...(await filesUnder(join(path, name))));
  return files;
}

async function removeUnused(inUse: string, nowMs: number): Promise<void> {
  for (const name of await readdir(BUNDLES)) {
    const folder = join(BUNDLES, name);
    const about = await stat(folder).catch(() => null);
    if (folder === inUse || about === null || nowMs - about.mtimeMs < KEEP_UNUSED_MS) continue;
    await rm(folder, { recursive: true, force: true });
  }
}

async function isFolder(path: string): Promise<boolean> {
  const about = await stat(path).catch(() => null);
  return about?.isDirectory() ?? false;
}
