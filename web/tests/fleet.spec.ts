import { count, sig } from "../src/format/number";
import { expect, type Instance, rangeQuery, test } from "./fixtures";

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

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
