import { expect, test } from "./fixtures";

const token = process.env["PGA_TEST_TOKEN"] ?? "";

test.describe("signing in", () => {
  // The browser itself reports an answer of 401.
  test.use({ expected: /status of 401/ });

  test("asks for the token, tells a wrong one, and takes the right one", async ({ page }) => {
    await page.goto("/");
    await page.getByLabel("API token").fill("not-the-token");
    await page.getByRole("button", { name: "Sign in" }).click();
    await expect(page.locator("form")).toContainText(/token/i);
    await expect(page.getByRole("navigation", { name: "Pages" })).toHaveCount(0);
    await page.getByLabel("API token").fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await expect(page.getByRole("navigation", { name: "Pages" })).toBeVisible();
  });

  test("a link signs in, and its token leaves the address", async ({ page }) => {
    await page.goto(`/collectors#token=${token}`);
    await expect(page.getByRole("heading", { name: "Collectors" })).toBeVisible();
    expect(page.url()).not.toContain("token");
    await page.goBack().catch(() => null);
    expect(page.url()).not.toContain("token");
  });

  test("signing out ends it", async ({ signedIn: page }) => {
    await page.goto("/");
    await page.getByRole("button", { name: "Sign out" }).click();
    await expect(page.getByLabel("API token")).toBeVisible();
  });
});
