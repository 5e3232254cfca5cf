import { describe, expect, it } from "vitest";
import { families, type Panel } from "~/gen/catalog";
import { type Answer, chartSeries, limitOf, losses, panels, presenceOf, requests, unitOf } from "./model";

const grid = { from: 0, to: 30, step: 10 };
const answer = (...series: [Record<string, string>, (number | null)[]][]): Answer => ({ grid, series: series.map(([labels, values]) => ({ labels, points: values.map((value, i) => [i * 10, value]) })) });
const panel = (more: Partial<Panel>): Panel => ({ title: "t", doc: "", unit: "count", fn: "rate", of: [{ column: "a", label: "a" }], stack: false, ...more });

describe("the catalog's panels", () => {
  it("asks only for columns and keys that exist, with functions that fit", () => {
    for (const placed of panels()) {
      for (const request of requests(placed)) {
        const { family, column, fn, by, ...where } = request;
        const columns = families.find((one) => one.name === family)?.columns ?? [];
        const kind = columns.find((one) => one.name === column)?.kind;
        expect([family, column, kind]).toEqual([family, column, fn === "rate" || fn === "delta" ? "counter" : "gauge"]);
        for (const name of [...Object.keys(where), ...(by === undefined ? [] : [by])]) expect(columns.map((one) => one.name)).toContain(name);
      }
    }
    expect(panels().length).toBeGreaterThan(5);
  });
});

describe("chartSeries", () => {
  it("waits for every line", () => expect(chartSeries(panel({ of: [{ column: "a", label: "a" }, { column: "b", label: "b" }] }), [answer([{}, [1]])])).toEqual([]));
  it("is a ratio in per cent, with no value of nothing", () => {
    const [hit] = chartSeries(panel({ fn: "ratio", unit: "%", of: [{ column: "hit", label: "hit" }, { column: "read", label: "read" }] }), [answer([{}, [99, 0, null]]), answer([{}, [1, 0, null]])]);
    expect(hit?.values).toEqual([99, null, null]);
  });
  it("tells a ratio of nothing from a gap", () => {
    const hits = panel({ fn: "ratio", unit: "%", of: [{ column: "hit", label: "hit" }, { column: "read", label: "read" }] });
    const answers = [answer([{}, [99, 0, null]]), answer([{}, [1, 0, null]])];
    expect([presenceOf(hits, answers), presenceOf(hits, answers.slice(1)), presenceOf(panel({}), answers)]).toEqual([[100, 0, null], undefined, undefined]);
  });
  it("puts waits in their order, and no wait is CPU", () => {
    const rows = chartSeries(panel({ fn: "avg", by: "wait_event_type" }), [answer([{ wait_event_type: "Lock" }, [1, null, 0]], [{ wait_event_type: "" }, [2, null, 2]], [{ wait_event_type: "NewWait" }, [3, null, 3]])]);
    expect(rows.map((row) => [row.label, row.token])).toEqual([["CPU", "wait-cpu"], ["Lock", "wait-lock"], ["NewWait", "wait-other"]]);
    expect(rows[0]?.values).toEqual([2, null, 2]);
  });
  it("is an empty column where nothing is stored", () => expect(chartSeries(panel({}), [answer()])[0]?.values).toEqual([null, null, null]));
});

describe("units", () => {
  it.each([["count", "rate", "/s"], ["bytes", "rate", "bytes/s"], ["count", "avg", "count"], ["%", "ratio", "%"]] as const)("%s of %s", (unit, fn, text) => expect(unitOf(panel({ unit, fn }))).toBe(text));
});

describe("gaps and limits", () => {
  it("quotes the ledger", () => {
    expect(losses([{ ...answer(), gaps: [{ from: 0, to: 10, outcome: "failed", reason: "connect", detail: "timeout after 5 s", ticks: 6 }] }])).toEqual([{ from: 0, to: 10, outcome: "failed", reason: "connect: timeout after 5 s", ticks: 6 }]);
    expect(losses([])).toEqual([]);
  });
  it("draws max_connections where it can be seen beside the sessions", () => {
    const placed = panels().find((one) => one.family.name === "activity");
    if (placed === undefined) throw new Error("no panel of activity");
    expect([limitOf(placed, 200, 90)?.value, limitOf(placed, 200, 3), limitOf(placed, undefined, 3)]).toEqual([200, null, null]);
  });
});
