// A page that is closed while it reads a stream: what it had counted is charged, by the page's own last word to the real
// authority on another origin. The page is a frame that is removed, a window that is closed, one that goes elsewhere, or one that is frozen.

import { expect, test } from "vitest";
import { authorityOfThese } from "./authority.ts";
import type { PagePlan } from "./metered-page.ts";

/** As much of a window as is used here; the tests' types are a Worker's. */
interface OtherWindow {
  readonly document: { write(html: string): void; close(): void; dispatchEvent(event: Event): void };
  readonly location: { href: string };
  close(): void;
}
interface Frame {
  readonly contentWindow: OtherWindow;
  remove(): void;
}
const page = globalThis as unknown as {
  readonly document: {
    createElement(name: "iframe"): Frame;
    readonly body: { append(frame: Frame): void };
  };
  open(url: string, target: string, features: string): OtherWindow | null;
};

const { openTenant, relayUrl, untilAnswered } = authorityOfThese();

/** Has a window load metered-page.ts, and waits until that has read what it was told to. */
async function runIn(window: OtherWindow, host: "parent" | "opener", plan: PagePlan): Promise<void> {
  const metering = new Promise<void>((resolve) => {
    const listener = ({ data }: MessageEvent): void => {
      if (data !== "metering") return;
      removeEventListener("message", listener);
      resolve();
    };
    addEventListener("message", listener);
  });
  const script = new URL("./metered-page.ts", import.meta.url).href;
  window.document.write(
    `<!doctype html><script>plan = ${JSON.stringify(plan)}; host = window.${host}</script>` +
      `<script type="module" src="${script}"></script>`,
  );
  window.document.close();
  await metering;
}

function openFrame() {
  const frame = page.document.createElement("iframe");
  page.document.body.append(frame);
  return { window: frame.contentWindow, host: "parent" as const, close: () => frame.remove() };
}

function openWindow(end: (window: OtherWindow) => void) {
  const window = page.open("", "_blank", "popup");
  if (window === null) throw new Error("the browser opened no window");
  return { window, host: "opener" as const, close: () => end(window) };
}

test.each([
  ["a frame that is removed", openFrame],
  ["a window that is closed", () => openWindow((it) => it.close())],
  [
    "a window that goes elsewhere",
    () =>
      openWindow((it) => {
        it.location.href = "about:blank?elsewhere";
      }),
  ],
  // The event alone, as a document gets it: a browser without a screen freezes nothing.
  ["a window that is frozen", () => openWindow((it) => it.document.dispatchEvent(new Event("freeze")))],
] as const)("%s: what it had counted is charged", async (_, openPage) => {
  const tenant = await openTenant();
  const scope = `tenant:${tenant.tenant}`;
  await tenant.createBudget({ scope, unit: "TOKENS", allocated: { unit: "TOKENS", amount: 1_000 } });
  const figures = async () => {
    const { body } = await tenant.balances({ tenant: tenant.tenant });
    const [row] = body.balances as Record<string, { amount: number }>[];
    return { spent: row?.spent?.amount, reserved: row?.reserved?.amount };
  };
  const { window, host, close } = openPage();
  const { apiKey } = tenant;
  const plan = { apiKey, tenant: tenant.tenant, estimate: 300, chunk: 10, chunks: 12 };
  await runIn(window, host, { baseUrl: relayUrl(), ...plan });
  expect(await figures()).toEqual({ spent: 0, reserved: 300 });
  close();
  await untilAnswered("/commit");
  expect(await figures()).toEqual({ spent: 120, reserved: 0 });
  const { body } = await tenant.reservations({ tenant: tenant.tenant, include: "committed_metadata" });
  expect(body.reservations).toMatchObject([
    { status: "COMMITTED", committed_metadata: { source: "local", ending: "page-closed" } },
  ]);
});
