import { count } from "../src/format/number";
import { type Counts, expect, type LedgerGrid, rangeQuery, test } from "./fixtures";

const six = ["stored", "failed", "skipped", "dropped", "pending", "missing"] as const;

test("the ledger's equation is the API's, and closes @both", async ({ signedIn: page, api, past }) => {
  const step = Math.max(10, Math.ceil((past.to - past.from) / 60 / 10) * 10);
  const grid = await api<LedgerGrid>("/api/v1/ledger/grid", { ...past, step });
  const ledger = await api<Counts>("/api/v1/ledger", { ...past });
  const sum = (key: keyof Counts) => grid.rows.reduce((total, row) => total + row.counts[key], 0);
  expect(six.reduce((total, key) => total + sum(key), 0), "planned is the sum of the six").toBe(sum("planned"));
  expect(sum("planned"), "heat map and ledger agree").toBe(ledger.planned);
  await page.goto(`/collectors?${rangeQuery(past)}`);
  const legend = page.getByRole("region", { name: "Ledger" });
  await expect(legend).toContainText(`planned ${count(sum("planned"))}`);
  for (const key of six) await expect(legend).toContainText(`${key} ${count(sum(key))}`);
  await expect(page.getByText("the ledger does not close")).toHaveCount(0);
});

test("the heat map opens from instance to family, and the URL remembers it", async ({ signedIn: page, past, instance }) => {
  await page.goto(`/collectors?${rangeQuery(past)}`);
  const map = page.getByRole("region", { name: "Ledger" });
  await map.getByRole("button", { name: instance.name }).click();
  await expect(map.getByRole("slider", { name: `activity of ${instance.name}` })).toBeVisible();
  await expect(page).toHaveURL(new RegExp(`open=${instance.id}`));
  await page.reload();
  const row = map.getByRole("slider", { name: `activity of ${instance.name}` });
  await row.hover();
  await expect(map.getByText(/planned, /).first()).toBeVisible();
});

test("each collector has its cycle, CPU and memory", async ({ signedIn: page, api, past }) => {
  const { items } = await api<{ items: { name: string; state: string; cycle_seconds?: number | null; memory_bytes?: number | null }[] }>("/api/v1/collectors", { ...past });
  await page.goto(`/collectors?${rangeQuery(past)}`);
  for (const one of items) {
    if (one.state === "reporting") expect(one.memory_bytes ?? 0, `${one.name} has a memory`).toBeGreaterThan(0);
    await expect(page.getByRole("region", { name: "Collectors" }).getByRole("row").filter({ hasText: one.name })).toBeVisible();
  }
});
