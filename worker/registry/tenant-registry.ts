// The Durable Object that knows which tenants there are, so that operators can list them: one object for the whole
// deployment. Invariant: it decides nothing; of each tenant it holds the newest revision that it was told of, and being
// told twice, late or out of order changes nothing. Who may call: the tenants' objects (to tell), the front (to list).

import { DurableObject } from "cloudflare:workers";
import type { Reply, TenantBody, TenantListBody } from "purser/ledger";
import {
  pageBody,
  readCursor,
  refuseCursor,
  succeed,
  tenantListSchema,
  validate,
  writeCursor,
} from "purser/ledger";
import type { Env } from "../env.ts";
import { applyMigrations, hasSchema, type Migration } from "../migrations.ts";

/** A tenant as its own object last wrote it. */
export interface RegistryEntry {
  readonly revision: number;
  readonly tenant: TenantBody;
}

// `search` is the lower-cased text that a search looks in: SQLite lowers ASCII only.
export const REGISTRY_MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: "registry",
    statements: [
      `CREATE TABLE tenants (
        tenant_id TEXT NOT NULL PRIMARY KEY,
        revision INTEGER NOT NULL,
        status TEXT NOT NULL,
        parent_tenant_id TEXT,
        search TEXT NOT NULL,
        body TEXT NOT NULL
      ) STRICT, WITHOUT ROWID`,
    ],
  },
];

export class TenantRegistry extends DurableObject<Env> {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    if (hasSchema(ctx.storage)) applyMigrations(ctx.storage, REGISTRY_MIGRATIONS, Date.now());
  }

  /** Remembers a tenant unless a later revision of it is known. One row. */
  record({ revision, tenant }: RegistryEntry): void {
    const { storage } = this.ctx;
    if (!hasSchema(storage)) applyMigrations(storage, REGISTRY_MIGRATIONS, Date.now());
    storage.sql.exec(
      `INSERT INTO tenants (tenant_id, revision, status, parent_tenant_id, search, body) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (tenant_id) DO UPDATE SET revision = excluded.revision, status = excluded.status,
         parent_tenant_id = excluded.parent_tenant_id, search = excluded.search, body = excluded.body
       WHERE excluded.revision > tenants.revision`,
      tenant.tenant_id,
      revision,
      tenant.status,
      tenant.parent_tenant_id ?? null,
      `${tenant.tenant_id}\n${tenant.name}`.toLowerCase(),
      JSON.stringify(tenant),
    );
  }

  /** The tenants by id, those that the filters let through. */
  list(query: unknown): Reply<TenantListBody> {
    const checked = validate(tenantListSchema, query);
    if (!checked.ok) return checked;
    const { limit, cursor, ...filters } = checked.value;
    const position = readCursor(cursor, filters);
    if (position === null) return refuseCursor();
    const { status = null, parent_tenant_id: parent = null, search = null } = filters;
    const rows = this.#rows(
      `SELECT body AS text FROM tenants WHERE tenant_id > ?1 AND (?2 IS NULL OR status = ?2)
         AND (?3 IS NULL OR parent_tenant_id = ?3) AND (?4 IS NULL OR instr(search, ?4) > 0)
       ORDER BY tenant_id LIMIT ?5`,
      position?.[0] ?? "",
      status,
      parent,
      search,
      limit + 1,
    );
    const shown = rows.slice(0, limit).map((text) => JSON.parse(text) as TenantBody);
    const last = rows.length > limit ? shown.at(-1) : undefined;
    return succeed(pageBody("tenants", shown, last && writeCursor([last.tenant_id], filters)));
  }

  /** The ids from one on, at most so many. */
  idsFrom(tenant: string, rowsMax: number): string[] {
    return this.#rows(
      "SELECT tenant_id AS text FROM tenants WHERE tenant_id >= ?1 ORDER BY tenant_id LIMIT ?2",
      tenant,
      rowsMax,
    );
  }

  #rows(statement: string, ...values: (string | number | null)[]): string[] {
    if (!hasSchema(this.ctx.storage)) return [];
    return this.ctx.storage.sql
      .exec<{ text: string }>(statement, ...values)
      .toArray()
      .map(({ text }) => text);
  }
}
