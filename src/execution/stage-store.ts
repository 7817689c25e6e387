// What is known of stages: their effects, and how a graph's reference finds its stage. Records keep the JSON form of
// noether, so that its files can be put in as they are; what costs do not need is not looked at.

import { checkAmount, checkName, invalidType } from "../arguments.ts";
import { isRecord, type Pinning, type StageId } from "./composition.ts";
import { COMPOSITION_LIMITS } from "./limits.ts";

/** What a stage declares to do to the world. Only `Cost`, in whole cents a call, and `Unknown` matter here. */
export type Effect =
  | { readonly effect: "Cost"; readonly cents: number }
  | { readonly effect: "Llm"; readonly model: string }
  | { readonly effect: "FsRead" | "FsWrite"; readonly path: string }
  | {
      readonly effect: "Fallible" | "Network" | "NonDeterministic" | "Process" | "Pure" | "Unknown";
    };

export interface StageRecord {
  /** The id of this implementation. */
  readonly id: StageId;
  /** The id that all implementations of the same signature share. */
  readonly signature_id?: StageId | null;
  readonly signature: { readonly effects: readonly Effect[] };
  /** Only an active stage is found by its signature. Default: `Active`. */
  readonly lifecycle?: unknown;
}

/** Where stages are looked up; synchronous, since costs are decided before a run. */
export interface StageStore {
  /** The implementation with that id. */
  get(id: StageId): StageRecord | null | undefined;
  /** The active implementation of that signature. */
  getBySignature(signatureId: StageId): StageRecord | null | undefined;
}

/** A store in memory. Of several active implementations of one signature the one put last is found. */
export class MemoryStageStore implements StageStore {
  readonly #byId = new Map<StageId, StageRecord>();
  /** Signature → its active implementations, in the order in which they were put. */
  readonly #active = new Map<StageId, Map<StageId, StageRecord>>();

  /** @throws RangeError, TypeError for what cannot be gone through, and as {@link put} for each */
  constructor(stages: Iterable<StageRecord> = []) {
    if (typeof (stages as Partial<Iterable<StageRecord>> | null)?.[Symbol.iterator] !== "function") {
      throw invalidType("stages", "an iterable of stage records", stages);
    }
    for (const stage of stages) this.put(stage);
  }

  /**
   * Adds a stage, or puts it in the place of the one with its id.
   * @throws RangeError, TypeError if the stage has no id, or a cost that is no amount
   */
  put(stage: StageRecord): void {
    if (!isRecord(stage)) throw invalidType("stage", "a stage record", stage);
    const { id, signature_id: signature, lifecycle = "Active" } = stage;
    checkName("stage.id", id, COMPOSITION_LIMITS.stageIdLengthMax);
    const signed = signature !== undefined && signature !== null;
    if (signed) checkName("stage.signature_id", signature, COMPOSITION_LIMITS.stageIdLengthMax);
    declaredCost(stage);
    const replaced = this.#byId.get(id)?.signature_id;
    if (typeof replaced === "string") this.#active.get(replaced)?.delete(id);
    this.#byId.set(id, stage);
    if (!signed || lifecycle !== "Active") return;
    const implementations = this.#active.get(signature) ?? new Map<StageId, StageRecord>();
    this.#active.set(signature, implementations.set(id, stage));
  }

  get(id: StageId): StageRecord | undefined {
    return this.#byId.get(id);
  }

  getBySignature(signatureId: StageId): StageRecord | undefined {
    return [...(this.#active.get(signatureId)?.values() ?? [])].at(-1);
  }
}

/**
 * The stage that a reference means. A reference by signature falls back on the implementation's id: stages without a
 * signature id are referred to that way.
 */
export function findStage(store: StageStore, id: StageId, pinning: Pinning): StageRecord | undefined {
  const bySignature = pinning === "signature" ? store.getBySignature(id) : undefined;
  return bySignature ?? store.get(id) ?? undefined;
}

/**
 * The sum of a stage's declared costs in cents; undefined if it declares no cost but unknown effects.
 * @throws RangeError, TypeError if a cost, or their sum, is no integer in 0 … 2^53−1
 */
export function declaredCost(stage: StageRecord): number | undefined {
  const place = `stage ${JSON.stringify(stage.id)}: effects`;
  const effects: unknown = isRecord(stage.signature) ? stage.signature.effects : undefined;
  if (!Array.isArray(effects)) throw invalidType(place, "an array", effects);
  let totalCents: number | undefined;
  let unknown = false;
  for (const [index, effect] of effects.entries()) {
    if (!isRecord(effect)) throw invalidType(`${place}[${index}]`, "an effect", effect);
    if (effect.effect === "Unknown") unknown = true;
    if (effect.effect !== "Cost") continue;
    checkAmount(`${place}[${index}].cents`, effect.cents);
    totalCents = (totalCents ?? 0) + effect.cents;
    checkAmount(`${place}: the sum of cents`, totalCents);
  }
  return totalCents ?? (unknown ? undefined : 0);
}
