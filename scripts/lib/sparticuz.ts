// The Chromium that npm ships (@sparticuz/chromium, Linux x64), unpacked into the project's build folder.
// The package unpacks to the system's temporary directory and reuses whatever lies there, also from another version;
// here each version has its own folder, which appears whole. Called by find-browser.ts.
import { randomUUID } from "node:crypto";
import { chmod, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { BUILD } from "./project.ts";

export interface UnpackedChromium {
  readonly binary: string;
  /** Starts the same binary with the libraries (NSS, NSPR, expat) and fonts of the package, for bare machines. */
  readonly wrapper: string;
}

const WRAPPER = `#!/bin/sh
# Chromium with the libraries and fonts that its npm package brings along, for machines that have none of their own.
here=$(dirname "$0")
export LD_LIBRARY_PATH="$here/al2023/lib\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
[ -e /etc/fonts/fonts.conf ] || export FONTCONFIG_FILE="$here/fonts.conf"
exec "$here/chromium" "$@"
`;

// The package's own list of font folders names places of the service it was made for.
const FONTS_CONFIG = `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
`;

export async function unpackSparticuz(): Promise<UnpackedChromium> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Error(`the package is for Linux x64 only, this is ${process.platform} ${process.arch}`);
  }
  const packageFolder = dirname(dirname(fileURLToPath(import.meta.resolve("@sparticuz/chromium"))));
  const manifest: { version: string } = JSON.parse(
    await readFile(join(packageFolder, "package.json"), "utf8"),
  );
  const folder = join(BUILD, "chromium", manifest.version);
  if (!(await exists(folder))) await unpackTo(folder, join(packageFolder, "bin"));
  return { binary: join(folder, "chromium"), wrapper: join(folder, "chromium-with-libraries") };
}

async function unpackTo(folder: string, packed: string): Promise<void> {
  const making = join(dirname(folder), `.making-${randomUUID()}`);
  await mkdir(making, { recursive: true });
  const temporaryBefore = process.env.TMPDIR;
  process.env.TMPDIR = making;
  try {
    const { default: chromium, inflate } = await import("@sparticuz/chromium");
    await chromium.executablePath(packed);
    await inflate(join(packed, "al2023.tar.br"));
    await writeFile(join(making, "fonts.conf"), FONTS_CONFIG);
    const wrapper = join(making, "chromium-with-libraries");
    await writeFile(wrapper, WRAPPER);
    await chmod(wrapper, 0o755);
    await rename(making, folder).catch(async (error: unknown) => {
      // Another run was quicker; it unpacked the same package.
      if (!(await exists(folder))) throw error;
    });
  } finally {
    if (temporaryBefore === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = temporaryBefore;
    await rm(making, { recursive: true, force: true });
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null;
}
