import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test as base, expect, type Page } from "@playwright/test";
import type { components } from "../src/api/schema.gen";

type Schemas = components["schemas"];
export type Instance = Schemas["Instance"];
export type Statements = Schemas["Statements"];
export type Series = Schemas["Series"];
export type LedgerGrid = Schemas["LedgerGrid"];
export type Counts = Schemas["LedgerCounts"];

export interface Window {
  from: number;
  to: number;
}

interface Fixtures {
  /** Console messages that a test provokes on purpose; any other error or warning fails it. */
  expected: RegExp | null;
  /** Reads the API as another client would, with the API token. */
  api: <T>(path: string, query?: Record<string, string | number>) => Promise<T>;
  /** A page of a browser that is signed in. */
  signedIn: Page;
  /** A range that is over, so that the page and the API are asked for the same numbers. */
  past: Window;
  /** The instance with statements that the tests look at. */
  instance: Instance;
}

const token = process.env["PGA_TEST_TOKEN"] ?? "";
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let found: { past: Window; id: string } | null = null;

export const test = base.extend<Fixtures>({
  expected: [null, { option: true }],
  page: async ({ page, expected }, use) => {
    const wrong: string[] = [];
    const say = (text: string) => expected?.test(text) !== true && wrong.push(text);
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && say(message.text()));
    page.on("pageerror", (error) => say(error.message));
    await use(page);
    expect(wrong, "console errors of the page").toEqual([]);
  },
  api: async ({ playwright, baseURL }, use) => {
    const context = await playwright.request.newContext({ baseURL, extraHTTPHeaders: { Authorization: `Bearer ${token}` } });
    await use(async (path, query = {}) => {
      const answer = await context.get(path, { params: query });
      expect(answer.status(), `${path}: ${await answer.text()}`).toBe(200);
      return answer.json();
    });
    await context.dispose();
  },
  signedIn: async ({ page }, use) => {
    const answer = await page.request.post("/api/v1/session", { data: { token } });
    expect(answer.status()).toBe(200);
    await use(page);
  },
  past: async ({ api }, use) => {
    found ??= await settle(api);
    await use(found.past);
  },
  instance: async ({ api, past }, use) => {
    await use(await api<Instance>(`/api/v1/instances/${found?.id}`, { from: past.from, to: past.to }));
  },
});

/** Waits until some instance has a minute of rates and statements, and gives that minute. */
async function settle(api: Fixtures["api"]): Promise<{ past: Window; id: string }> {
  const until = Date.now() + 150_000;
  test.setTimeout(240_000);
  for (;;) {
    const now = Math.floor(Date.now() / 1000);
    const past = { from: now - 70 - (now % 10), to: now - 10 - (now % 10) };
    const { items } = await api<{ items: Instance[] }>("/api/v1/instances", { ...past });
    for (const one of items.toSorted((a, b) => (b.active_mean ?? 0) - (a.active_mean ?? 0))) {
      if (one.xacts_per_second == null || one.counts.stored < 8 || (one.first_seen ?? now) > past.from) continue;
      const account = await api<Statements>(`/api/v1/instances/${one.id}/statements`, { ...past });
      if (account.items.length > 3) return { past, id: one.id };
    }
    if (Date.now() > until) throw new Error(`no instance has statements after 150 s: ${JSON.stringify(items.map((one) => [one.name, one.status, one.counts]))}`);
    await new Promise((done) => {
      setTimeout(done, 2000);
    });
  }
}

export function rangeQuery({ from, to }: Window): string {
  const iso = (at: number) => encodeURIComponent(new Date(at * 1000).toISOString().replace(".000Z", "Z"));
  return `from=${iso(from)}&to=${iso(to)}`;
}

/** Accessibility as axe sees it; the script is evaluated, because the page's policy lets no foreign script in. */
export async function checkAxe(page: Page): Promise<void> {
  await page.evaluate(axeSource);
  const violations = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run: (options: object) => Promise<{ violations: { id: string; nodes: { html: string; failureSummary?: string }[] }[] }> } };
    const result = await axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] });
    return result.violations.map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.failureSummary ?? ""}`).join(" | ")}`);
  });
  expect(violations).toEqual([]);
}

export { expect };
