import { count, sig } from "../src/format/number";
import { checkAxe, expect, type Instance, rangeQuery, test } from "./fixtures";

test("the fleet shows the API's numbers @both", async ({ signedIn: page, api, past }) => {
  const { items } = await api<{ items: Instance[] }>("/api/v1/instances", { ...past });
  await page.goto(`/?${rangeQuery(past)}`);
  const table = page.getByRole("region", { name: "Instances" });
  for (const one of items) {
    const row = table.getByRole("row").filter({ has: page.getByRole("link", { name: one.name, exact: true }) });
    await expect(row).toContainText(one.status);
    await expect(row).toContainText(one.version.split(" ")[0] ?? "");
    if (one.xacts_per_second != null) await expect(row.getByRole("cell").filter({ hasText: new RegExp(`^${escape(sig(one.xacts_per_second))}$`) }).first()).toBeVisible();
    const lost = one.counts.failed + one.counts.skipped + one.counts.dropped + one.counts.missing;
    await expect(row.getByRole("cell").filter({ hasText: new RegExp(`^${escape(count(lost))}$`) }).first()).toBeVisible();
  }
  const stored = items.reduce((sum, one) => sum + one.counts.stored, 0);
  const due = items.reduce((sum, one) => sum + one.counts.planned - one.counts.pending, 0);
  await expect(page.getByRole("region", { name: "Summary" })).toContainText(`${count(stored)} of ${count(due)} ticks stored`);
});

test("filters and sort live in the URL", async ({ signedIn: page, past, instance }) => {
  await page.goto(`/?${rangeQuery(past)}`);
  await page.getByLabel("Name or label").fill("no such instance");
  await expect(page.getByText("No instance matches")).toBeVisible();
  await expect(page).toHaveURL(/q=no/);
  await page.reload();
  await expect(page.getByText("No instance matches")).toBeVisible();
  await page.getByLabel("Name or label").fill(instance.name);
  const link = page.getByRole("region", { name: "Instances" }).getByRole("link", { name: instance.name, exact: true });
  await expect(link).toBeVisible();
  await page.getByRole("button", { name: "Xacts/s" }).click();
  await expect(page.getByRole("columnheader", { name: /Xacts/ })).toHaveAttribute("aria-sort", "descending");
  await expect(page).toHaveURL(/sort=-xacts/);
  await link.click();
  await expect(page.getByRole("heading", { name: instance.name })).toBeVisible();
  expect(page.url(), "the range goes along").toContain("from=");
});

test("a phone has cards and range buttons @both", async ({ signedIn: page, api, past, instance }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  const { items } = await api<{ items: Instance[] }>("/api/v1/instances", { ...past });
  await page.goto(`/?${rangeQuery(past)}`);
  const list = page.getByRole("region", { name: "Instances" });
  const cards = list.getByRole("listitem");
  await expect(cards).toHaveCount(items.length);
  await expect(list.locator("table")).toHaveCount(0);
  for (const one of items) {
    const card = cards.filter({ has: page.getByRole("link", { name: one.name, exact: true }) });
    await expect(card).toContainText(one.status);
    if (one.xacts_per_second != null) await expect(card.locator("dl div").filter({ hasText: "Xacts/s" }).locator("dd")).toHaveText(sig(one.xacts_per_second));
  }
  await checkAxe(page);
  const range = page.getByRole("group", { name: "Time range" });
  await range.getByRole("button", { name: "Last 6 h", exact: true }).click();
  await expect(page).toHaveURL(/from=now-6h/);
  await expect(range.getByRole("button", { name: "Last 6 h", exact: true })).toHaveAttribute("aria-pressed", "true");
  // The card as a whole leads to its instance.
  await cards.filter({ has: page.getByRole("link", { name: instance.name, exact: true }) }).click({ position: { x: 30, y: 100 } });
  await expect(page.getByRole("heading", { name: instance.name })).toBeVisible();
  await expect(page).toHaveURL(/from=now-6h/);
});

for (const [name, age, text] of [["half a minute", 30, "Last 1 minute"], ["ten minutes", 600, "Last 15 minutes"], ["a day", 86_400, "Last 1 hour"]] as const) {
  test(`without a range in the URL, data of ${name} show the ${text.toLowerCase()}`, async ({ signedIn: page, instance }) => {
    await page.route("**/api/v1/instances?*", async (route) => {
      const answer = await route.fetch();
      const body = (await answer.json()) as { items: Instance[] };
      for (const one of body.items) one.first_seen = Date.now() / 1000 - age;
      await route.fulfill({ response: answer, json: body });
    });
    await page.goto("/");
    await expect(page.getByRole("link", { name: instance.name, exact: true })).toBeVisible();
    const range = page.getByRole("button", { name: `Time range ${text}` });
    await expect(range).toBeVisible();
    expect(page.url()).not.toContain("from=");
    // What is chosen is kept, although the default moves on.
    await range.click();
    await page.getByRole("button", { name: "Last 5 minutes" }).click();
    await expect(page).toHaveURL(/from=now-5m/);
  });
}

test("a missing library comes with all its steps", async ({ signedIn: page, instance, past }) => {
  await page.route("**/api/v1/instances?*", async (route) => {
    const answer = await route.fetch();
    const body = (await answer.json()) as { items: Instance[] };
    for (const one of body.items) {
      if (one.id === instance.id) one.notes = [{ family: "statements", reason: "not_loaded", detail: "not loaded", since: past.from, planned: false, remedy: "-- add pg_stat_statements to shared_preload_libraries and restart the server\nCREATE EXTENSION pg_stat_statements;" }];
    }
    await route.fulfill({ response: answer, json: body });
  });
  await page.goto(`/?${rangeQuery(past)}`);
  const table = page.getByRole("region", { name: "Instances" });
  for (const text of ["SHOW shared_preload_libraries;", "replaces", "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements';", "restart PostgreSQL", "CREATE EXTENSION pg_stat_statements;"]) await expect(table).toContainText(text);
});

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
