import { checkAxe, expect, rangeQuery, test } from "./fixtures";

const places = ["/", "/instances/ID", "/instances/ID/queries", "/collectors"] as const;

for (const place of places) {
  test(`${place} is accessible and fits @both`, async ({ signedIn: page, past, instance }) => {
    await page.goto(`${place.replace("ID", instance.id)}?${rangeQuery(past)}`);
    await expect(page.getByRole("main").locator("table, canvas").first()).toBeVisible();
    await expect(page.locator("[aria-busy=true]")).toHaveCount(0);
    await checkAxe(page);
    for (const size of [{ width: 1440, height: 900 }, { width: 390, height: 800 }]) {
      await page.setViewportSize(size);
      const spill = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      expect(spill, `nothing sticks out at ${size.width} px`).toBeLessThanOrEqual(0);
    }
  });
}

test("keys lead everywhere, and can be switched off", async ({ signedIn: page, past, instance }) => {
  await page.goto(`/?${rangeQuery(past)}`);
  await expect(page.getByRole("region", { name: "Instances" })).toBeVisible();
  await page.keyboard.press("g");
  await page.keyboard.press("c");
  await expect(page.getByRole("heading", { name: "Collectors" })).toBeVisible();
  await page.keyboard.press("Control+k");
  await expect(page.getByRole("combobox")).toBeFocused();
  await page.keyboard.type(instance.name);
  await expect(page.getByRole("option").first()).toContainText(instance.name);
  await checkAxe(page);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: instance.name })).toBeVisible();
  const before = page.url();
  await page.keyboard.press("[");
  await expect(page).not.toHaveURL(before);
  await page.keyboard.press("?");
  await page.getByLabel("Single keys act on the page").uncheck();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  const still = page.url();
  await page.keyboard.press("[");
  await page.keyboard.press("g");
  await page.keyboard.press("c");
  expect(page.url()).toBe(still);
});

test("rows are walked with j, k and Enter", async ({ signedIn: page, past, instance }) => {
  await page.goto(`/instances/${instance.id}/queries?${rangeQuery(past)}`);
  const rows = page.locator("tr[data-row]");
  await expect(rows.nth(1)).toBeVisible();
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await expect(rows.nth(1)).toBeFocused();
  await page.keyboard.press("k");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/open=/);
});

test("the colour scheme is kept", async ({ signedIn: page }) => {
  await page.goto("/");
  const root = page.locator("html");
  const before = await root.getAttribute("data-mantine-color-scheme");
  await page.getByRole("button", { name: /colours$/ }).click();
  await expect(root).not.toHaveAttribute("data-mantine-color-scheme", before ?? "");
  await page.reload();
  await expect(root).not.toHaveAttribute("data-mantine-color-scheme", before ?? "");
});

test("an unknown place and an unknown instance are told", async ({ signedIn: page }) => {
  await page.goto("/no/such/page");
  await expect(page.getByText("There is no such page")).toBeVisible();
});

test.describe("trouble", () => {
  // The browser itself reports failed answers.
  test.use({ expected: /status of (404|503)|ERR_FAILED/ });

  test("an unknown instance is told", async ({ signedIn: page }) => {
    await page.goto("/instances/999999999");
    await expect(page.getByText("The instance: not found")).toBeVisible();
  });

  test("a failed answer says why and can be asked again", async ({ signedIn: page, past }) => {
    await page.route("**/api/v1/instances?*", (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: '{"title":"Unavailable","status":503,"detail":"the store does not answer"}' }));
    await page.goto(`/?${rangeQuery(past)}`);
    await expect(page.getByRole("alert")).toContainText("the store does not answer");
    await checkAxe(page);
    await page.unroute("**/api/v1/instances?*");
    await page.getByRole("button", { name: "Try again" }).click();
    await expect(page.getByRole("region", { name: "Instances" })).toBeVisible();
  });

  test("old numbers stay while the backend is away", async ({ signedIn: page }) => {
    await page.goto("/?from=now-5m");
    await expect(page.getByRole("region", { name: "Instances" })).toBeVisible();
    await page.route("**/api/**", (route) => route.abort());
    await expect(page.getByText(/not renewed since \d\d:\d\d:\d\d/)).toBeVisible({ timeout: 40_000 });
    await expect(page.getByRole("region", { name: "Instances" })).toBeVisible();
    await expect(page.getByRole("button", { name: /No answer since \d\d:\d\d:\d\d/ })).toBeVisible();
  });
});
