// What a command says when the person running it can do something about it: one sentence on stderr, exit 1, no stack.
// Everything else that is thrown is a bug of ours and keeps its stack. Called by the commands in scripts/.
import process from "node:process";
import { type Command, CommanderError } from "commander";

export class UserError extends Error {
  readonly code = "USER_ERROR";
}

/** Lets commander report bad arguments the same way: one line that begins with the program's name. */
export function reportLikePurser(command: Command): Command {
  return command.exitOverride().configureOutput({
    outputError: (text, write) => write(`purser: ${text.replace(/^error: /, "")}`),
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
    process.exitCode = 1;
    process.stderr.write(error instanceof UserError ? `purser: ${error.message}\n` : `${describe(error)}\n`);
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
