import { defineConfig } from "@playwright/test";

const url = process.env["PGA_TEST_URL"];
if (url === undefined || process.env["PGA_TEST_TOKEN"] === undefined) {
  throw new Error("PGA_TEST_URL and PGA_TEST_TOKEN name a running pganalytics and its API token; scripts/browser-test.sh starts one");
}

// Chromium of the machine drives the page that the real program serves, in both colour schemes.
export default defineConfig({
  testDir: "tests",
  timeout: 60_000,
  expect: { timeout: 15_000 },
  fullyParallel: false,
  workers: 1,
  retries: 0,
  forbidOnly: true,
  use: {
    baseURL: url,
    timezoneId: "UTC",
    locale: "en-US",
    viewport: { width: 1440, height: 1000 },
    launchOptions: { executablePath: process.env["PGA_TEST_CHROMIUM"] ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] },
    trace: "retain-on-failure",
  },
  projects: [
    { name: "dark", use: { colorScheme: "dark" } },
    { name: "light", use: { colorScheme: "light" }, grep: /@both/ },
  ],
});
