// A trace of LLM calls: per call the tokens of its context and the tokens it generated, in order of time.
// Read from CSV (`TIMESTAMP,ContextTokens,GeneratedTokens`, as the Azure LLM inference traces have it) or made by a
// seeded generator, then called synthetic. The numbers lie in shared memory, so that threads read them without copies.
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { CsvError, parse } from "csv-parse";
import { errorCode } from "./errors.ts";
import { SAMPLE_CALLS, SAMPLE_SEED } from "./limits.ts";
import { seededRandom } from "./seeded-random.ts";
import { printable, UserError } from "./user-error.ts";

export interface Trace {
  /** For people: where the calls come from. */
  readonly label: string;
  readonly calls: number;
  /** Tokens per call; whole numbers, in `Float64Array`s because they go up to 2^53−1. */
  readonly contextTokens: Float64Array<SharedArrayBuffer>;
  readonly generatedTokens: Float64Array<SharedArrayBuffer>;
  /** All tokens of all calls; at most 2^53−1. */
  readonly totalTokens: number;
}

const HEADER = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];

interface Row {
  readonly record: readonly string[];
  readonly info: { readonly lines: number };
}

/** @throws UserError with the file's name, and the line's number where there is one. */
export async function readTrace(file: string): Promise<Trace> {
  const contexts: number[] = [];
  const generated: number[] = [];
  let headerSeen = false;
  const take = ({ record, info }: Row): void => {
    const where = `${file}, line ${info.lines}`;
    if (!headerSeen) {
      if (record.join(",") !== HEADER.join(",")) {
        const found = printable(record.join(","));
        throw new UserError(`${where}: the header must be "${HEADER.join(",")}", not "${found}".`);
      }
      headerSeen = true;
      return;
    }
    if (record.length !== HEADER.length) {
      throw new UserError(`${where}: a line has ${HEADER.length} fields, this one has ${record.length}.`);
    }
    contexts.push(tokens(record[1], "ContextTokens", where));
    generated.push(tokens(record[2], "GeneratedTokens", where));
  };

  try {
    // Neither counts nor times are ever quoted, and a stray quote must not swallow the lines after it.
    const parser = parse({
      bom: true,
      info: true,
      trim: true,
      quote: false,
      relax_column_count: true,
      skip_empty_lines: true,
    });
    await pipeline(createReadStream(file), parser, async (rows: AsyncIterable<Row>) => {
      for await (const row of rows) take(row);
    });
  } catch (error) {
    if (error instanceof UserError) throw error;
    if (error instanceof CsvError) throw new UserError(`${file}: ${printable(error.message)}.`);
    throw new UserError(`the trace ${file} cannot be read (${errorCode(error)}).`);
  }
  if (!headerSeen) {
    throw new UserError(`the trace ${file} is empty; its first line must be "${HEADER.join(",")}".`);
  }
  if (contexts.length === 0) throw new UserError(`the trace ${file} holds no calls.`);
  return share(file, contexts, generated);
}

/**
 * A made-up trace with the shape of a coding assistant's traffic: long contexts, mostly short answers, a few long ones.
 * The same calls every time.
 */
export function sampleTrace(): Trace {
  const random = seededRandom(SAMPLE_SEED);
  const contexts: number[] = [];
  const generated: number[] = [];
  for (let call = 0; call < SAMPLE_CALLS; call += 1) {
    contexts.push(100 + Math.floor(7300 * random() ** 2));
    // −ln(u) is exponentially distributed: half of the answers below 21 tokens, one in a hundred above 138.
    generated.push(Math.min(1900, 1 + Math.floor(-30 * Math.log(1 - random()))));
  }
  return share(`synthetic sample (made-up calls, seed ${SAMPLE_SEED})`, contexts, generated);
}

function tokens(text: string | undefined, field: string, where: string): number {
  const value = text !== undefined && /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw new UserError(`${where}: ${field} must be a whole number of tokens, not "${printable(text ?? "")}".`);
}

function share(label: string, contexts: readonly number[], generated: readonly number[]): Trace {
  let totalTokens = 0;
  for (const column of [contexts, generated]) {
    for (const value of column) totalTokens += value;
  }
  // Sums of whole numbers are exact up to here, and grow past it before they are rounded back below it.
  if (!Number.isSafeInteger(totalTokens))
    throw new UserError(`${label}: the tokens add up to more than 2^53−1.`);
  return {
    label,
    calls: contexts.length,
    contextTokens: sharedColumn(contexts),
    generatedTokens: sharedColumn(generated),
    totalTokens,
  };
}

function sharedColumn(values: readonly number[]): Float64Array<SharedArrayBuffer> {
  const column = new Float64Array(new SharedArrayBuffer(values.length * Float64Array.BYTES_PER_ELEMENT));
  column.set(values);
  return column;
}
