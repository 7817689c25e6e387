// Journal records as text, for journals that keep them beyond the process. Invariant: what is read is a whole record of a
// known version or nothing, and no integer is rounded. Pure; who may call: the journals in src/journal.

import type { JsonObject } from "../ledger/json.ts";
import { OVERAGE_POLICIES, UNITS } from "../ledger/units.ts";
import type { JournalRecord } from "./journal.ts";
import { parseAnswer, requestText } from "./json-answer.ts";
import { plain } from "./members.ts";

export function textOfRecord(record: JournalRecord): string {
  return requestText(record);
}

/** Undefined for what is no record: cut short, changed by somebody, or of a version that is not known here. */
export function recordOfText(text: string): JournalRecord | undefined {
  try {
    const value = plain(parseAnswer(text));
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is JournalRecord {
  if (!isObject(value)) return false;
  const { action, actual, metrics, metadata, notBeforeMs, overagePolicy, eventSinceMs, countedUntilMs } =
    value;
  return (
    value.version === 1 &&
    [value.partition, value.reservationId, value.idempotencyKey].every(isText) &&
    (value.mode === "commit" || (value.mode === "event" && Number.isSafeInteger(eventSinceMs))) &&
    isObject(value.subject) &&
    isObject(action) &&
    [action.kind, action.name].every(isText) &&
    isObject(actual) &&
    UNITS.some((unit) => unit === actual.unit) &&
    isAmount(actual.amount) &&
    (metrics === undefined || isObject(metrics)) &&
    (metadata === undefined || isObject(metadata)) &&
    (overagePolicy === undefined || OVERAGE_POLICIES.some((it) => it === overagePolicy)) &&
    [notBeforeMs, countedUntilMs].every((it) => it === undefined || Number.isSafeInteger(it))
  );
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function isAmount(value: unknown): boolean {
  return (typeof value === "bigint" || Number.isSafeInteger(value)) && BigInt(value as number) >= 0n;
}
