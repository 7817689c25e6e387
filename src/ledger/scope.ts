// Scopes: how a subject or an operator's text becomes the canonical paths that budgets are keyed by.
// Invariant: a canonical scope is `level:value` segments in hierarchy order, lower-cased, joined by "/"; it holds only
// [a-z0-9_.-] besides the delimiters, so text comparison is scope comparison. Pure; who may call: anyone.

import { LIMITS } from "./limits.ts";

export const LEVELS = ["tenant", "workspace", "app", "workflow", "agent", "toolset"] as const;
export type Level = (typeof LEVELS)[number];

const TENANT_ID = /^[a-z0-9-]{3,64}$/;

/** Whether a text can be a tenant's id. Only such names ever reach an object, a key or a reservation id. */
export function isTenantId(text: unknown): text is string {
  return typeof text === "string" && TENANT_ID.test(text);
}

/** Who an action is accounted to. At least one level; `dimensions` are carried along and mean nothing to a budget. */
export interface Subject {
  tenant?: string | undefined;
  workspace?: string | undefined;
  app?: string | undefined;
  workflow?: string | undefined;
  agent?: string | undefined;
  toolset?: string | undefined;
  dimensions?: Record<string, string> | undefined;
}

export const SCOPE_VALUE = /^[a-zA-Z0-9_.-]+$/;
const SCOPE_ID = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/;

/** The segments that a subject gives, in hierarchy order; absent levels are skipped. */
export function segmentsOf(subject: Subject): string[] {
  return LEVELS.flatMap((level) => {
    const value = subject[level];
    return value === undefined ? [] : [`${level}:${value.toLowerCase()}`];
  });
}

/** All scopes a subject is accounted to: the cumulative prefixes, shallowest first. The last one is its scope path. */
export function scopesOf(subject: Subject): string[] {
  const segments = segmentsOf(subject);
  return segments.map((_, index) => segments.slice(0, index + 1).join("/"));
}

/** The deepest of a subject's scopes. A validated subject has at least one level. */
export function scopePathOf(subject: Subject): string {
  return segmentsOf(subject).join("/");
}

/** The last segment of a scope: what the wire calls `Balance.scope`. */
export function leafOf(scope: string): string {
  return scope.slice(scope.lastIndexOf("/") + 1);
}

/** Whether a scope's path holds every given segment, whatever else it holds. */
export function hasSegments(scope: string, segments: readonly string[]): boolean {
  const own = scope.split("/");
  return segments.every((segment) => own.includes(segment));
}

export type ScopeResult =
  | { readonly ok: true; readonly scope: string; readonly tenant: string }
  | { readonly ok: false; readonly rule: string };

/**
 * Reads an operator's scope text: starts with `tenant:`, canonical order, no level twice. The result is lower-cased.
 * `rule` names what the text breaks.
 */
export function parseScope(text: string): ScopeResult {
  const segments = text.split("/");
  let previous = -1;
  for (const segment of segments) {
    const colon = segment.indexOf(":");
    const level = LEVELS.indexOf(segment.slice(0, colon) as Level);
    const id = segment.slice(colon + 1);
    if (colon < 0 || level < 0)
      return { ok: false, rule: `each segment must be level:id with a level of ${LEVELS.join(", ")}` };
    if (level <= previous)
      return { ok: false, rule: `levels must follow the order ${LEVELS.join(", ")}, each at most once` };
    if (id.length > LIMITS.scopeValueLengthMax || !SCOPE_ID.test(id)) {
      return {
        ok: false,
        rule: "an id must be letters, digits, '.', '_' or '-', begin and end with a letter or digit, at most 128 long",
      };
    }
    previous = level;
  }
  const first = segments[0] ?? "";
  if (!first.startsWith("tenant:")) return { ok: false, rule: "must start with tenant:" };
  return { ok: true, scope: text.toLowerCase(), tenant: first.slice("tenant:".length).toLowerCase() };
}

/** A scope filter's entry: one segment, exact or `level:*`. */
export function isScopeFilterEntry(text: string): boolean {
  const colon = text.indexOf(":");
  const id = text.slice(colon + 1);
  return LEVELS.includes(text.slice(0, colon) as Level) && (id === "*" || SCOPE_VALUE.test(id));
}

/** Whether a scope is `top`, or stands below it. */
export function isWithinScope(scope: string, top: string): boolean {
  return scope === top || scope.startsWith(`${top}/`);
}

/** Whether one entry of `filter` matches one segment of `scope`. No filter lets everything pass. */
export function passesScopeFilter(scope: string, filter: readonly string[] | undefined): boolean {
  if (filter === undefined) return true;
  const segments = scope.split("/");
  return filter.some((entry) => {
    const wanted = entry.toLowerCase();
    return wanted.endsWith(":*")
      ? segments.some((segment) => segment.startsWith(wanted.slice(0, -1)))
      : segments.includes(wanted);
  });
}
