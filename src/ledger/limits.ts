// Every limit of the ledger and its wire, as data with its reason. A limit counts what its name says, units last.
// What comes from the protocol cannot be changed here without breaking clients; the others are ours.

/**
 * Nested arrays and objects of one body. Deeper JSON is an attack on recursive readers; real metadata stays below 10.
 * Apart from the others, so that clients, which read JSON too, do not carry them.
 */
export const JSON_DEPTH_MAX = 32;

export const LIMITS = {
  /** Bytes of one request body. The largest legal reserve (metadata aside) is about 12 KiB; the rest is for metadata. */
  bodyBytesMax: 64 * 1024,

  /**
   * Bytes of `metadata`, as JSON in UTF-8, and of a commit's `metrics.custom`. The protocol names no bound, and what a
   * caller says here is kept for 32 days: ids, a model's name and a price take some 300 bytes, a few prompts' worth of
   * text do not belong into a ledger.
   */
  metadataBytesMax: 16 * 1024,
  /**
   * Bytes of one tenant's database beyond which nothing new begins: no reservation, question, event or lease. The platform ends at
   * 10 GB, where nothing could be settled either; the rest is for that. With 120,000 reservations held it is 16 KB for each.
   */
  storedBytesMax: 8_000_000_000,

  /** Protocol: idempotency keys. */
  idempotencyKeyLengthMax: 256,
  /** Protocol: reservation ids in a path. */
  reservationIdLengthMax: 128,
  /** Protocol: one value of a subject, one id of a scope. */
  scopeValueLengthMax: 128,
  /** Protocol: entries of `subject.dimensions`, and the length of each value. */
  dimensionsMax: 16,
  dimensionLengthMax: 256,
  /** Ours. The protocol bounds a dimension's value and not its name, which is kept as well. */
  dimensionNameLengthMax: 256,
  /** Protocol: the action. */
  actionKindLengthMax: 64,
  actionNameLengthMax: 256,
  actionTagsMax: 10,
  actionTagLengthMax: 64,
  modelVersionLengthMax: 128,
  releaseReasonLengthMax: 256,

  /** Protocol: the life of a reservation. */
  ttlMsMin: 1_000,
  ttlMsMax: 86_400_000,
  gracePeriodMsMax: 60_000,
  gracePeriodMsDefault: 5_000,
  extendByMsMax: 86_400_000,
  /** Ours. Each extension is kept in the hold's row with its reply (about 1 KB), and a row ends at 2 MB. */
  extensionsMax: 100,

  /** Governance plane: tenants and keys. */
  tenantIdLengthMin: 3,
  tenantIdLengthMax: 64,
  nameLengthMax: 256,
  descriptionLengthMax: 1_024,
  /** Why an operator did something: funding, freezing, revoking. */
  reasonLengthMax: 512,
  /** Governance plane: rows of one page, the text of a search, and the values of one filter. */
  adminPageRowsMax: 100,
  searchLengthMax: 128,
  filterValuesMax: 25,
  tenantMetadataEntriesMax: 32,
  /** Ours: permissions and scope filters travel with every decision of a key. */
  permissionsMax: 64,
  allowedOriginsMax: 16,
  originLengthMax: 256,
  scopeFilterMax: 64,

  /** Protocol: rows of one page. */
  pageRowsMax: 200,
  pageRowsDefault: 50,
  /**
   * Reservations that one listing looks at; each costs about 30 µs to read, and a tenant's decisions wait meanwhile. In the
   * order of creation or id, a page ends there and its cursor goes on; an order that no index gives must see every
   * candidate, so it is refused beyond.
   */
  listRowsMax: 2_000,
  /** Days of creation in which a listing looks for an idempotency key; one lookup each. */
  listKeyDays: 40,

  /**
   * Active reservations of one tenant. Each keeps 300 to 400 bytes in the object's memory (its deadline, in a heap per
   * scope), of the 128 MB a Durable Object has. Finished reservations don't count.
   */
  activeReservationsMax: 120_000,
  /** Of these, one API key's: a third, so that a key that leaked or ran wild leaves room for the tenant's others. */
  activeReservationsPerKeyMax: 40_000,
  /** Budgets of one tenant: a balances query walks them all. */
  budgetsMax: 10_000,
  /** API keys of one tenant, revoked ones included. */
  apiKeysMax: 10_000,
  /**
   * Tokens of one tenant, those included that ended less than `RETENTION.tokenMs` ago: some 1 KB each in the store, none in
   * memory. Twenty a second for every quarter of an hour's life.
   */
  tokensMax: 20_000,
  /** Of these, what one issued token and all narrowed from it may make together: its holder is not trusted. */
  tokensPerFamilyMax: 256,
  /** A token that a key issued, and three narrowed one from the other. Each has a cap, an account on the path of a decision. */
  tokenDepthMax: 4,
  /** The life of a token. It can be revoked, so this bounds what a clock or a lost row could leave open; renewing is one call. */
  tokenTtlMsMin: 1_000,
  tokenTtlMsMax: 900_000,
  /** Active reservations that one token and those narrowed from it may hold: its holder shares the key's own limit. */
  activeReservationsPerTokenMax: 1_000,
  /** Origins travel in the token's own text, in a header. */
  tokenOriginsMax: 4,
  tokenNameLengthMax: 128,
  /** Tokens that each call which makes or prolongs one looks at, to forget what has long ended; and each alarm. */
  tokensLookedAtPerTurn: 8,
  tokensLookedAtPerAlarm: 500,
  /** Policies of one tenant, disabled ones included. All are kept in memory, at up to 34 KB each. */
  policiesMax: 1_000,

  /**
   * Leases of one tenant that hold something. A lease stands for a page, an isolate or a process, each of which renews about
   * every 20 s: 10,000 of them are some 500 calls a second, which is what one object answers.
   */
  leasesMax: 10_000,
  /** Of these, one API key's: a third, as with reservations. */
  leasesPerKeyMax: 3_333,
  /** Leases that one token and those narrowed from it may hold: its holder shares the key's own limit. */
  leasesPerTokenMax: 100,
  /**
   * The life of a lease. Below a second, renewing would be most of what a holder does; and what a dead holder had is
   * stuck until the end, so nobody may have it for longer than ten minutes.
   */
  leaseTtlMsMin: 1_000,
  leaseTtlMsMax: 600_000,
  leaseGraceMsMax: 60_000,
  leaseHolderLengthMax: 128,
  /**
   * How long after a refusal, in milliseconds, an even share leaves room for whoever was refused: as long as a lease lasts by
   * default, so whoever tries again at the pace of the others' renewals is remembered.
   */
  leaseShortMs: 60_000,
  /** For how many of those who were refused an even share leaves room: who asks with ever new keys cannot count for more. */
  leaseRefusedMax: 32,

  /** Tools that one list of a policy's caps may name. Caps travel with every decision and are kept with its answer. */
  capsToolsMax: 64,
  capsToolLengthMax: 256,
  /** Policies are compared by priority alone, so any range will do that JSON clients keep exact. */
  policyPriorityMax: 1_000_000_000,
  ratePerMinuteMax: 1_000_000_000,
  /**
   * Written rows that a rate limit costs a minute at most: calls are counted in memory and the store is told in lots of
   * this part of the limit. A lost memory costs what was left of one lot.
   */
  rateLotsPerMinute: 16,

  /**
   * Milliseconds of a period of fixed length: a window writes two rows when it begins, so shorter ones than a minute
   * would cost more than what they bound. Longer than a year is a budget without a period.
   */
  periodMsMin: 60_000,
  periodMsMax: 366 * 86_400_000,
  timeZoneLengthMax: 64,
  /** Formatters kept, one a time zone; a few kB each. The platform has some 600 names of zones. */
  timeZonesKept: 1_000,

  /**
   * Rows of the audit log that one call looks at. Filters are applied row by row; a page that would need more is cut
   * short and its cursor goes on from there. 5,000 rows are read in some 20 ms.
   */
  auditRowsPerCall: 5_000,
  /** What the audit log keeps of a client's own description of itself. */
  userAgentLengthMax: 256,
  /** Tenants asked by one call that lists over all of them; each may have to wake. */
  tenantsPerCall: 25,

  /**
   * Due holds settled at one reading of the host's clock for the decisions made at it, which is one group of calls: those
   * on the decisions' own budgets. Each takes 0.1 to 0.5 ms, so a group stays under half a second, where the platform ends
   * a call after 30 s of CPU and undoes it. While more are left, what needs their budgets' figures answers 503.
   */
  neededHoldsPerMoment: 1_000,
  /** The same for holds that no decision needs: each writes three rows; 64 keep a group's share well under 30 ms. */
  otherHoldsPerMoment: 64,
  /** Due holds settled by one alarm; the alarm sets itself again for the rest. */
  sweepHoldsPerAlarm: 1_000,
  /** Old rows pruned per settled reservation; more than one, so that a backlog shrinks. */
  pruneRowsPerTurn: 4,
} as const;

/** How long answers can be replayed. The protocol's minimum is: reserve 24 h, commit and release 30 d, event 7 d. */
export const RETENTION = {
  /** Days looked back for a reserve with the same key: today and two before cover 24 h of life plus 24 h of replay. */
  reserveReplayDays: 2,
  /**
   * Days looked ahead for any first answer: one that was given while the host's clock ran ahead lies there, once that was put
   * right. So much covers whoever was a day wrong in either direction of a time zone; each day costs a lookup in every call.
   */
  aheadDays: 2,
  /** Finished reservations, by the day of their creation and by the moment they finished; both must be past. */
  finishedDays: 32,
  finishedMs: 30 * 86_400_000,
  /** Answers of operations that make no reservation, by namespace. */
  dryRunDays: 1,
  decideDays: 1,
  eventDays: 7,
  fundDays: 7,
  /**
   * The audit log: a year, as the governance plane recommends, and at most so many rows, whichever is less. A row takes
   * about 500 bytes, so the log stays below a tenth of the 10 GB that one object may store.
   */
  auditDays: 365,
  auditRowsMax: 1_000_000,
  /** Tokens, after their end: long enough to renew one whose holder slept, and to see in a list what became of it. */
  tokenMs: 3_600_000,
  /** Passed windows of one budget: a quarter of days, eight years of months. One that still holds something stays. */
  windowsPerBudget: 100,
} as const;

export const MS_PER_DAY = 86_400_000;

/**
 * How far, in milliseconds, the host's clock may be behind the latest time seen and still be taken for a hiccup: within
 * it the ledger's time stands still, so nothing that has expired comes back. Hosts that keep time agree within a second;
 * five minutes is what Kerberos grants bad ones. Further behind, it was the *later* reading that was wrong, and the
 * ledger follows the host back; active reservations then end at the latest after the tenant's longest life from now.
 *
 * Guaranteed: whatever one reading said, expiry never stands still for longer than this, a reservation that was settled
 * stays settled, and no figure changes by a clock alone except through expiry. Not guaranteed: a reading ahead expires
 * what is due by it and ages API keys and kept answers; nobody can tell it from an object that slept that long.
 */
export const CLOCK_BACK_MS_MAX = 300_000;

/** How a tenant lends unless its operator says otherwise. */
export const LEASE_DEFAULTS = {
  /** A tenant's first epoch. */
  epoch: 1,
  /** Strict: what nobody reported counts as spent, so that no clock decides whether a budget holds. */
  onExpiry: "charge",
  ttlMs: 60_000,
  ttlMsMax: LIMITS.leaseTtlMsMax,
  /** A report that was sent in time may still arrive: three tries of a client's call fit in. */
  graceMs: 5_000,
} as const;

/** What a tenant gets unless its record says otherwise. @see Cycles governance, TenantCreateRequest */
export const TENANT_DEFAULTS = {
  reservationTtlMs: 60_000,
  reservationTtlMsMax: 3_600_000,
  reservationExtensionsMax: 10,
  commitOveragePolicy: "ALLOW_IF_AVAILABLE",
  apiKeyLifeMs: 90 * MS_PER_DAY,
} as const;

/**
 * Events take the request's policy, else this one, whatever tenant or budget say: a REJECT by default would refuse the
 * very spend that recovery has to write down. @see Cycles protocol, EventCreateRequest
 */
export const EVENT_OVERAGE_POLICY = "ALLOW_IF_AVAILABLE";
