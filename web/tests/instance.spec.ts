import { exact, sig } from "../src/format/number";
import { families } from "../src/gen/catalog";
import { stepFor } from "../src/time/range";
import { expect, rangeQuery, type Series, type Statements, test } from "./fixtures";

test("every panel of the catalog is a chart @both", async ({ signedIn: page, past, instance }) => {
  await page.goto(`/instances/${instance.id}?${rangeQuery(past)}`);
  for (const panel of families.flatMap((family) => family.panels)) {
    const chart = page.getByRole("region", { name: new RegExp(`^${panel.title}(,|$)`) });
    await expect(chart.locator("canvas")).toBeVisible();
  }
});

test("a chart holds the API's numbers, bucket by bucket", async ({ signedIn: page, api, past, instance }) => {
  const step = stepFor(past.to - past.from, instance.interval ?? 60);
  const window = { from: Math.floor(past.from / step) * step, to: Math.ceil(past.to / step) * step };
  const columns = await Promise.all(
    ["xact_commit", "xact_rollback"].map((column) => api<Series>(`/api/v1/instances/${instance.id}/series`, { family: "database", column, fn: "rate", step, ...window })),
  );
  await page.goto(`/instances/${instance.id}?${rangeQuery(past)}`);
  const chart = page.getByRole("region", { name: /^Transactions/ });
  await chart.hover();
  await chart.getByRole("button", { name: "as table" }).click();
  const rows = chart.locator("tbody tr");
  const [commits, rollbacks] = columns.map((one) => new Map((one.series[0]?.points ?? []).map((point) => [Number(point[0]), point[1] ?? null])));
  expect([...(commits?.values() ?? [])].some((value) => value !== null && value > 0), "there are commits in the range").toBe(true);
  await expect(rows).toHaveCount(Math.round((window.to - window.from) / step));
  const texts = await rows.evaluateAll((list) => list.map((row) => [...row.querySelectorAll("td")].map((cell) => cell.textContent)));
  const starts = Array.from({ length: texts.length }, (_, i) => window.from + i * step).toReversed();
  expect(texts).toEqual(starts.map((start) => [exact(commits?.get(start)), exact(rollbacks?.get(start))]));
});

test("the crosshair is shared, and a drag is a new range", async ({ signedIn: page, past, instance }) => {
  await page.goto(`/instances/${instance.id}?${rangeQuery(past)}`);
  const first = page.getByRole("region", { name: /^Transactions/ });
  const over = first.locator(".u-over");
  await expect(first.getByRole("button", { name: /^commits \d/ })).toBeVisible();
  await over.scrollIntoViewIfNeeded();
  const box = await over.boundingBox();
  if (box === null) throw new Error("the chart has no size");
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await expect(page.getByText(/Crosshair \d\d:\d\d:\d\d/)).toBeVisible();
  // Another chart's slider tells the same moment.
  const other = page.getByRole("slider", { name: "Crosshair of WAL" });
  await expect(other).toHaveAttribute("aria-valuetext", /^\d\d:\d\d:\d\d: /);
  await page.mouse.move(box.x + box.width * 0.2, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.9, box.y + 20, { steps: 5 });
  await page.mouse.up();
  await expect(page).not.toHaveURL(new RegExp(rangeQuery(past).split("&")[0] ?? ""));
  await expect(page).toHaveURL(/from=20/);
});

test("the crosshair moves by keyboard", async ({ signedIn: page, past, instance }) => {
  await page.goto(`/instances/${instance.id}?${rangeQuery(past)}`);
  const slider = page.getByRole("slider", { name: "Crosshair of Transactions" });
  await slider.focus();
  await page.keyboard.press("Home");
  await expect(slider).toHaveAttribute("aria-valuetext", /^\d\d:\d\d:\d\d: commits/);
  const before = Number(await slider.getAttribute("aria-valuenow"));
  await page.keyboard.press("ArrowRight");
  await expect.poll(async () => Number(await slider.getAttribute("aria-valuenow"))).toBeGreaterThan(before);
});

test("top statements are the API's", async ({ signedIn: page, api, past, instance }) => {
  const account = await api<Statements>(`/api/v1/instances/${instance.id}/statements`, { limit: 10, ...past });
  await page.goto(`/instances/${instance.id}?${rangeQuery(past)}`);
  const top = account.items[0];
  const rows = page.getByRole("region", { name: "Statements" }).locator("tr[data-row]");
  await expect(rows).toHaveCount(account.items.length);
  await expect(rows.first().locator("th").first()).toHaveText(sig((top?.total_exec_time ?? 0) / 1000 / account.seconds));
});
