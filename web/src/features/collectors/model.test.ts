import { describe, expect, it } from "vitest";
import type { Collector, GridRow } from "~/api/types";
import { addCounts, costs, heatRows, imbalance, notStored, success, zero } from "./model";

const row = (more: Partial<GridRow>): GridRow => ({
  instance: "1", instance_name: "db-1", collector: "eu-1", database: "", family: "wal",
  counts: { ...zero, planned: 2, stored: 1, failed: 1 }, cells: [[1, 1, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0, 0]],
  reasons: [{ time: 20, outcome: "failed", reason: "connect" }], ...more,
});

describe("counts", () => {
  const counts = { planned: 11_088, stored: 10_648, failed: 248, skipped: 8, dropped: 6, pending: 117, missing: 61 };
  it("close", () => expect([imbalance(counts), imbalance({ ...counts, missing: 60 }), notStored(counts)]).toEqual([0, 1, 323]));
  it("leave out of success what is pending", () => expect(success(counts)).toBeCloseTo(0.9706, 4));
  it("have no success of nothing", () => expect(success(zero)).toBeNull());
  it("add up", () => expect(addCounts([counts, counts]).planned).toBe(22_176));
});

describe("heatRows", () => {
  const rows = [row({}), row({ family: "activity" }), row({ family: "tables", database: "shop" }), row({ instance: "2", instance_name: "db-10" }), row({ instance: "3", instance_name: "db-2" }), row({ instance: "4", instance_name: "x", collector: "eu-2" })];
  it("goes from collector to instance, and into an open one", () => {
    expect(heatRows(rows, new Set(["1"]), () => undefined).map((one) => `${one.level} ${one.label} ${one.notStored}`)).toEqual([
      "0 eu-1 0", "1 db-1 3", "2 activity 1", "2 wal 1", "2 tables, shop 1", "1 db-2 1", "1 db-10 1", "0 eu-2 0", "1 x 1",
    ]);
  });
  it("sums an instance's families and says where each exception was", () => {
    const instance = heatRows(rows, new Set(), () => undefined)[1];
    expect(instance?.cells).toEqual([[3, 3, 0, 0, 0, 0, 0], [3, 0, 3, 0, 0, 0, 0]]);
    expect(instance?.exceptions.map((one) => one.where)).toEqual(["wal", "activity", "tables, shop"]);
  });
});

describe("costs", () => {
  it("puts the dearest first and the unknown last, with why", () => {
    const list = costs([
      { id: "a", name: "eu-1", version: "1", state: "reporting", counts: zero, instances: [{ id: "1", name: "x", cost_percent: 0.1 }, { id: "2", name: "y", cost_percent: 0.5 }] },
      { id: "b", name: "lab", version: "1", state: "silent", counts: zero, instances: [{ id: "3", name: "z", cost_percent: null }] },
    ] as Collector[]);
    expect(list.map((one) => [one.name, one.percent])).toEqual([["y", 0.5], ["x", 0.1], ["z", null]]);
    expect(list[2]?.status).toBe("collector silent");
  });
});
