import { count, percent } from "../src/format/number";
import { expect, rangeQuery, type Series, type Statements, test } from "./fixtures";

const number = (text: string | null) => Number((text ?? "").replaceAll(",", ""));

test("the account is the API's, and closes @both", async ({ signedIn: page, api, past, instance }) => {
  const account = await api<Statements>(`/api/v1/instances/${instance.id}/statements`, { limit: 15, ...past });
  const items = account.items.reduce((sum, item) => sum + (item.calls ?? 0), 0);
  expect(items + (account.rest.calls ?? 0) + (account.cut.calls ?? 0) + (account.dropped.calls ?? 0), "the API's account closes").toBe(account.total.calls);
  await page.goto(`/instances/${instance.id}/queries?${rangeQuery(past)}`);
  const equation = page.getByRole("region", { name: "Account" });
  await expect(equation).toContainText("coverage");
  for (const name of ["calls", "time, s"]) {
    const cells = await equation.getByRole("row", { name: new RegExp(`^${name}`) }).getByRole("cell").allTextContents();
    const [total = 0, ...parts] = cells.slice(0, 5).map(number);
    expect(parts.reduce((sum, part) => sum + part, 0), `${name}: written parts add up to the written total`).toBeCloseTo(total, 6);
    if (name === "calls") {
      expect(cells.slice(0, 5)).toEqual([account.total.calls, items, account.rest.calls ?? 0, account.cut.calls ?? 0, account.dropped.calls ?? 0].map((n) => count(n)));
      expect(cells[5]).toBe(`${percent(account.coverage.calls)} %`);
    }
  }
  await expect(page.getByText("the account does not close")).toHaveCount(0);
  const shares = await page.locator("tr[data-row] td:nth-child(2), tfoot tr:not([data-strong]) td:nth-child(2)").allTextContents();
  expect(shares.reduce((sum, share) => sum + Math.round(Number(share) * 10), 0), "shares add up to 100.0").toBe(1000);
});

test("what is sorted is what is shown", async ({ signedIn: page, api, past, instance }) => {
  const account = await api<Statements>(`/api/v1/instances/${instance.id}/statements`, { limit: 15, sort: "calls", ...past });
  await page.goto(`/instances/${instance.id}/queries?${rangeQuery(past)}`);
  await page.getByRole("button", { name: "Calls/s" }).click();
  await expect(page).toHaveURL(/sort=calls/);
  await expect(page.getByRole("columnheader", { name: /Calls\/s/ })).toHaveAttribute("aria-sort", "descending");
  const titles = page.locator("tr[data-row] td span[title$=' calls']");
  await expect(titles.first()).toHaveAttribute("title", `${count(account.items[0]?.calls)} calls`);
  expect(await titles.evaluateAll((list) => list.map((one) => one.getAttribute("title")))).toEqual(account.items.map((item) => `${count(item.calls)} calls`));
});

test("a statement opens with its SQL, keeps its 64-bit id in the URL, and closes with Esc", async ({ signedIn: page, api, past, instance }) => {
  const account = await api<Statements>(`/api/v1/instances/${instance.id}/statements`, { limit: 15, ...past });
  const item = account.items.find((one) => one.query !== null);
  if (item === undefined) throw new Error("no statement has a text");
  await page.goto(`/instances/${instance.id}/queries?${rangeQuery(past)}`);
  await page.locator("tr[data-row]").nth(account.items.indexOf(item)).click();
  const detail = page.getByRole("region", { name: `Statement ${item.query_id}` });
  await expect(detail).toBeVisible();
  await expect(page).toHaveURL(new RegExp(`open=${item.query_id}&open_database=${item.database}&open_user=${item.user}(&|$)`));
  const shown = (await detail.getByRole("region", { name: "SQL" }).textContent()) ?? "";
  expect(shown.replace(/\s+/g, " ").trim()).toBe(item.query?.replace(/\s+/g, " ").trim());
  await expect(detail.locator("canvas")).toHaveCount(4);
  await expect(detail.locator("dl div").filter({ hasText: /^Calls/ })).toContainText(count(item.calls));
  await page.reload();
  await expect(detail).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(detail).toHaveCount(0);
});

test("an opened row shows its own database and user, and leads to all", async ({ signedIn: page, api, past, instance }) => {
  const account = await api<Statements>(`/api/v1/instances/${instance.id}/statements`, { limit: 1000, ...past });
  const many = account.items.find((one) => account.items.some((other) => other.query_id === one.query_id && other !== one));
  if (many === undefined) throw new Error("no statement of the demo runs in two databases or as two users");
  await page.goto(`/instances/${instance.id}/queries?${rangeQuery(past)}&open=${many.query_id}&open_database=${many.database}&open_user=${many.user}`);
  const detail = page.getByRole("region", { name: `Statement ${many.query_id}` });
  const calls = detail.locator("dl div").filter({ hasText: /^Calls/ }).locator("dd");
  await expect(calls).toHaveText(count(many.calls));
  await expect(detail.locator("canvas")).toHaveCount(4);
  // The chart counts the same calls as the row.
  const series = await api<Series>(`/api/v1/instances/${instance.id}/series`, { family: "statements", column: "calls", fn: "delta", queryid: many.query_id, dbid: many.database, userid: many.user, ...past });
  expect((series.series[0]?.points ?? []).reduce((sum, point) => sum + Number(point[1] ?? 0), 0)).toBe(many.calls);
  await detail.getByRole("button", { name: `Of ${many.database}, user ${many.user}` }).click();
  await page.getByRole("menuitem", { name: /^all \d+ databases and users/ }).click();
  await expect(page).not.toHaveURL(/open_/);
  await expect(calls).toHaveText(count(account.items.filter((one) => one.query_id === many.query_id).reduce((sum, one) => sum + (one.calls ?? 0), 0)));
});

test("a filter keeps the account closed", async ({ signedIn: page, past, instance }) => {
  await page.goto(`/instances/${instance.id}/queries?${rangeQuery(past)}`);
  await page.getByLabel("Text or query id").fill("select");
  await expect(page).toHaveURL(/text=select/);
  await expect(page.locator("tr[data-row]").first()).toContainText(/select/i);
  await expect(page.getByText("the account does not close")).toHaveCount(0);
});

test("Queries leads to the busiest instance", async ({ signedIn: page, past }) => {
  await page.goto(`/queries?${rangeQuery(past)}`);
  await expect(page).toHaveURL(/\/instances\/[^/]+\/queries/);
  await expect(page.getByRole("region", { name: "Account" })).toBeVisible();
});
