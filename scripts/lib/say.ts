// What a command tells the person who runs it: a line that begins with the program's name. Called by the commands.
import process from "node:process";

export function say(text: string): void {
  process.stdout.write(`purser: ${text}\n`);
}
