import { describe, expect, it } from "vitest";
import { tickText, timeText, timeTicks, valueAxis } from "./axes";
import { findGaps } from "./gaps";
import { indexAt, lastValue, mean, onGrid, ratio, sum, times } from "./grid";
import { drawn } from "./model";
import { flat, stack } from "./stack";

const grid = { from: 1000, to: 1050, step: 10 };

describe("grid", () => {
  it("puts points into their buckets and leaves the others empty", () => {
    expect(times(grid)).toEqual([1000, 1010, 1020, 1030, 1040]);
    expect(onGrid([[1000, 1], [1020, null], [1030, 0], [990, 9], [1050, 9]], grid)).toEqual([1, null, null, 0, null]);
  });
  it("finds the bucket of a moment", () => expect([999, 1000, 1009.9, 1049, 1050].map((at) => indexAt(at, grid))).toEqual([null, 0, 0, 4, null]));
  it("sums without turning an outage into zero", () => expect(sum([[1, null, 0], [2, null, null]])).toEqual([3, null, 0]));
  it("has no ratio of nothing", () => expect(ratio([1, 0, null], [2, 0, 5])).toEqual([0.5, null, null]));
  it("averages samples only", () => expect([mean([1, null, 3]), mean([null]), lastValue([1, 2, null])]).toEqual([2, null, 2]));
});

describe("stack", () => {
  it("piles up what is there", () => {
    expect(stack([[1, null, 3], [10, null, null], [100, null, 300]])).toEqual([
      { base: [0, null, 0], top: [1, null, 3] },
      { base: [1, null, null], top: [11, null, null] },
      { base: [11, null, 3], top: [111, null, 303] },
    ]);
  });
  it("lies flat when not stacked", () => expect(flat([[5, null]], 2)).toEqual([{ base: [2, null], top: [5, null] }]));
});

describe("gaps", () => {
  const failed = (from: number) => ({ from, to: from + 10, outcome: "failed", reason: "connect" });
  const base = { grid, losses: [], now: 1200, patience: 30, since: null };
  it("is a run of empty buckets, with the reasons of its ticks", () => {
    expect(findGaps({ ...base, total: [1, null, null, 1, 1], losses: [failed(1010), failed(1020)] })).toEqual([
      { kind: "gap", from: 1010, to: 1030, reasons: [{ outcome: "failed", reason: "connect", ticks: 2 }] },
    ]);
  });
  it("is bridged when a longer frame covers lost ticks", () => {
    expect(findGaps({ ...base, total: [1, 1, 1, 1, 1], losses: [failed(1010)] })).toMatchObject([{ kind: "bridged", from: 1010, to: 1020 }]);
  });
  it("waits at the right edge", () => {
    const total = [1, 1, 1, null, null];
    expect(findGaps({ ...base, total, now: 1050 })).toEqual([]);
    expect(findGaps({ ...base, total, now: 1071 })).toMatchObject([{ kind: "gap", from: 1030, to: 1040 }]);
  });
  it("tells the time before anybody watched", () => {
    expect(findGaps({ ...base, total: [null, null, 1, 1, 1], since: 1020 })).toMatchObject([{ kind: "before", from: 1000, to: 1020, reasons: [] }]);
  });
  it("takes the wait for a second reading for no gap", () => {
    expect(findGaps({ ...base, total: [null, null, null, 1, null], since: 1015 })).toMatchObject([{ kind: "before", from: 1000, to: 1030 }, { kind: "gap", from: 1040 }]);
    expect(findGaps({ ...base, total: [null, null, null, 1, 1], since: 900 })).toMatchObject([{ kind: "gap", from: 1000, to: 1030 }]);
  });
  it("draws no gap in the future", () => expect(findGaps({ ...base, total: [1, null, null, null, null], now: 1005, patience: 0 })).toEqual([]));
});

describe("axes", () => {
  it.each([[6, [0, 2, 4, 6]], [1480, [0, 500, 1000, 1500]], [0.084, [0, 0.02, 0.04, 0.06, 0.08, 0.1]], [0, [0]], [200, [0, 50, 100, 150, 200]]])("rounds %d", (top, ticks) => {
    expect(valueAxis(top).ticks).toEqual(ticks);
  });
  it("can be cut, and says so", () => expect(valueAxis(100, 95)).toMatchObject({ min: 95, max: 100, cut: true }));
  it("writes ticks alike", () => {
    expect(tickText(valueAxis(98_000))).toEqual(["0", "20k", "40k", "60k", "80k", "100k"]);
    expect(tickText(valueAxis(1.4))).toEqual(["0", "0.5", "1.0", "1.5"]);
    expect(tickText(valueAxis(18_000))).toEqual(["0", "5,000", "10,000", "15,000", "20,000"]);
  });
  it("ticks time on round minutes, 24 hours", () => {
    const from = Date.UTC(2026, 10, 24, 23, 33, 20) / 1000;
    const ticks = timeTicks(from, from + 3600, 400, "UTC");
    expect(timeText(ticks, "UTC")).toEqual(["23:40", "23:50", "25 Nov", "00:10", "00:20", "00:30"]);
    expect(timeText(timeTicks(from, from + 60, 300, "UTC"), "UTC")[0]).toBe("23:33:30");
  });
});

describe("a robust axis", () => {
  const one = (values: (number | null)[]) => [{ key: "a", label: "a", token: "data" as const, values }];
  const quiet = [211, null, 6, 1, 2, 1, 3];
  it("is not set by one value far above the others, and marks it", () => {
    const view = drawn(one(quiet), "ms/s", false, null, true);
    expect([view.axis.max, view.beyond]).toEqual([6, [{ index: 0, value: 211 }]]);
    expect(view.layers[0]?.top[0], "the value itself is kept").toBe(211);
  });
  it("is the whole axis where it was not asked for, where the others are near, or where there are few", () => {
    expect(drawn(one(quiet), "ms/s", false, null).beyond).toEqual([]);
    for (const values of [[20, 6, 5, 6, 5, 6], [211, 1, 1], [211, 0, 0, 0, 0, 0], [211, 200, 1, 1, 1, 1]]) expect(drawn(one(values), "ms/s", false, null, true).beyond).toEqual([]);
  });
  it("leaves out one in fifty at most", () => {
    const values = Array.from({ length: 100 }, (_, i) => (i < 2 ? 100 : 1));
    expect(drawn(one(values), "ms/s", false, null, true).beyond).toHaveLength(2);
    expect(drawn(one([...values.slice(1), 100, 100]), "ms/s", false, null, true).beyond).toEqual([]);
  });
});
