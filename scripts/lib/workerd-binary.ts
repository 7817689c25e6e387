// Where workerd lies: the one that wrangler depends on, so that what is served and measured is what was tested.
import { createRequire } from "node:module";
import { join } from "node:path";
import { ROOT } from "./project.ts";

export function workerdBinary(): string {
  const fromRoot = createRequire(join(ROOT, "package.json"));
  const fromWrangler = createRequire(fromRoot.resolve("wrangler/package.json"));
  const { default: path }: { default: string } = fromWrangler("workerd");
  return path;
}
