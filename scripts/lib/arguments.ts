// Reading numbers off the command line. Each function takes the text and returns the number or tells commander what is
// wrong with it; commander adds the name of the option and the text. Called by the commands in scripts/.
import { InvalidArgumentError } from "commander";
import { KILLS_MAX, PORT_MAX, PROCESSES_MAX, SECONDS_MAX, SEED_MAX, THREADS_MAX } from "./limits.ts";

export function parsePort(text: string): number {
  return parseWhole(text, 0, PORT_MAX);
}

export function parseThreads(text: string): number {
  return parseWhole(text, 1, THREADS_MAX);
}

export function parseProcesses(text: string): number {
  return parseWhole(text, 1, PROCESSES_MAX);
}

export function parseSeconds(text: string): number {
  return parseWhole(text, 0, SECONDS_MAX);
}

/** A number of tokens that is worth having; thousands may be set apart by `_`, as in code. */
export function parseTokens(text: string): number {
  return parseWhole(text.replaceAll("_", ""), 1, Number.MAX_SAFE_INTEGER);
}

export function parseKills(text: string): number {
  return parseWhole(text, 1, KILLS_MAX);
}

export function parseSeed(text: string): number {
  return parseWhole(text, 0, SEED_MAX);
}

/** How many seeds; `_` may set thousands apart. */
export function parseSeeds(text: string): number {
  return parseWhole(text.replaceAll("_", ""), 1, SEED_MAX);
}

function parseWhole(text: string, min: number, max: number): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
}
