import { exact } from "../src/format/number";
import { clock } from "../src/time/zone";
import { expect, rangeQuery, type Series, test } from "./fixtures";

// The last hop of e2e's TestHops, which starts this with what it has measured: a watched server, a
// window that is over, the bytes of WAL that the store holds in it, and the bucket that has the most.
const { PGA_TEST_INSTANCE: id = "", PGA_TEST_FROM, PGA_TEST_TO, PGA_TEST_WAL_BYTES, PGA_TEST_PEAK_TIME, PGA_TEST_PEAK_RATE } = process.env;

test("bytes of WAL reach the screen", async ({ signedIn: page, api }) => {
  test.skip(id === "", "part of e2e's TestHops, which knows the number");
  const window = { from: Number(PGA_TEST_FROM), to: Number(PGA_TEST_TO) };
  const peak = { time: Number(PGA_TEST_PEAK_TIME), rate: Number(PGA_TEST_PEAK_RATE) };
  const series = async (fn: string) =>
    ((await api<Series>(`/api/v1/instances/${id}/series`, { family: "wal", column: "wal_bytes", fn, step: 1, ...window })).series[0]?.points ?? []).map(
      (point): [number, number | null] => [Number(point[0]), point[1] ?? null],
    );
  const [rates, deltas] = await Promise.all([series("rate"), series("delta")]);
  expect(deltas.reduce((sum, [, value]) => sum + (value ?? 0), 0)).toBe(Number(PGA_TEST_WAL_BYTES));

  await page.goto(`/instances/${id}?${rangeQuery(window)}`);
  await expect(page).toHaveURL(new RegExp(new Date(window.from * 1000).toISOString().slice(0, 10)));
  const chart = page.getByRole("region", { name: /^WAL(,|$)/ });
  await chart.hover();
  await chart.getByRole("button", { name: "as table" }).click();
  const rows = chart.locator("tbody tr");
  await expect(rows).toHaveCount(window.to - window.from);
  const shown = await rows.evaluateAll((list) => list.map((row) => [row.querySelector("th")?.textContent, row.querySelector("td")?.textContent]));
  // Each bucket as the API has it, the newest on top; the highest is the one that was measured.
  expect(shown).toEqual(rates.toReversed().map(([time, value]) => [clock(time, "UTC"), exact(value)]));
  const top = shown.find(([time]) => time === clock(peak.time, "UTC"));
  const number = Number(top?.[1]?.replaceAll(",", ""));
  expect(number).toBeGreaterThan(peak.rate * 0.999);
  expect(number).toBeLessThan(peak.rate * 1.001);
  const highest = Math.max(...rates.map(([, value]) => value ?? 0));
  expect(rates.find(([, value]) => value === highest)?.[0]).toBe(peak.time);
});
