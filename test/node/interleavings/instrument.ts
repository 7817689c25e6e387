// The real kernel, made to stop: the release disassembly with a call before every atomic instruction (`step`) and at
// every loop head and function entry (`interrupt`, where engines terminate threads), assembled again. With JavaScript
// Promise Integration such a call suspends one of several calls into one instance, so a test decides who goes on.

import { readFileSync } from "node:fs";
import binaryen from "binaryen";

const IMPORTS = ' (import "env" "step" (func $step))\n (import "env" "interrupt" (func $interrupt))';

export function instrumentedKernel(): WebAssembly.Module {
  const wat = readFileSync(new URL("../../../build/kernel.shared.wat", import.meta.url), "utf8");
  const lines: string[] = [];
  let inHead = false;
  for (const line of wat.split("\n")) {
    const isLocal = /^ {2}\(local /.test(line);
    if (inHead && !isLocal) {
      lines.push("  call $interrupt");
      inHead = false;
    }
    // Words that never change after initialising are read as if they were constants: stopping there shows nothing new.
    const isConstant = /^\s*i32\.const (8|16)$/.test(lines.at(-1) ?? "");
    if (/\.atomic\./.test(line) && !isConstant) lines.push("call $step");
    lines.push(line);
    if (line.startsWith(' (import "env" "memory"')) lines.push(IMPORTS);
    if (line.startsWith(" (func $")) inHead = true;
    if (/^\s*loop \$/.test(line)) lines.push("call $interrupt");
  }
  const module = binaryen.parseText(lines.join("\n"));
  module.setFeatures(binaryen.Features.All);
  return new WebAssembly.Module(module.emitBinary() as Uint8Array<ArrayBuffer>);
}
