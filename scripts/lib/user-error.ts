// What a command says when the person running it can do something about it: one sentence on stderr, exit 1, no stack.
// A command that a signal ended while it booted ends by that signal, in silence. Everything else that is thrown is a bug
// of ours and keeps its stack. Called by the commands in scripts/.
import process from "node:process";
import { type Command, CommanderError } from "commander";
import { endBySignal, StoppedError } from "./stop-signal.ts";

/** Characters of a quoted piece: two of our own headers, so that whoever compares sees enough. */
const SHOWN_CHARACTERS_MAX = 80;

export class UserError extends Error {
  readonly code = "USER_ERROR";
}

/** Lets commander report bad arguments the same way: one line that begins with the program's name. */
export function reportLikePurser(command: Command): Command {
  return command.exitOverride().configureOutput({
    // One line, also where commander guesses in a second one what was meant.
    outputError: (text, write) =>
      write(
        `purser: ${text
          .replace(/^error: /, "")
          .trimEnd()
          .replaceAll("\n", " ")}\n`,
      ),
  });
}

/** Runs a command to its end and sets the exit code that it returns. The only place that ends on an error. */
export async function runCommand(main: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await main();
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode;
      return;
    }
    if (error instanceof StoppedError) return endBySignal(error.stopSignal);
    process.exitCode = 1;
    process.stderr.write(error instanceof UserError ? `purser: ${error.message}\n` : `${describe(error)}\n`);
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** A piece of someone's file as a message may show it: no control characters, which a terminal would obey, and short. */
export function printable(text: string): string {
  const shown = text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, "\ufffd");
  const characters = [...shown];
  return characters.length <= SHOWN_CHARACTERS_MAX
    ? shown
    : `${characters.slice(0, SHOWN_CHARACTERS_MAX).join("")}…`;
}
