import { describe, expect, it } from "vitest";
import type { Instance, Note } from "~/api/types";
import { stateOf } from "~/ui/instance";
import { isFirstRun, matches, severityOf, summarize } from "./model";

const note = (more: Partial<Note> = {}): Note => ({ family: "statements", reason: "ids_hidden", detail: "ids are hidden", since: 0, planned: true, ...more });
const one = (more: Partial<Instance> = {}): Instance => ({
  id: "1", name: "shop-db-1", status: "up", version: "17.7", labels: { env: "prod" }, notes: [],
  counts: { planned: 100, stored: 90, failed: 4, skipped: 1, dropped: 1, pending: 2, missing: 2 }, ...more,
});

describe("stateOf", () => {
  it("tells down, unknown, connecting, limited and up apart", () => {
    expect([one({ status: "down" }), one({ status: "unknown" }), one({ status: "unknown", version: "" }), one({ notes: [note()] }), one()].map(stateOf)).toEqual(["down", "unknown", "connecting", "limited", "up"]);
  });
  it("does not call an old version a limitation", () => expect(stateOf(one({ notes: [note({ family: "wal", reason: "version" })] }))).toBe("up"));
  it("sorts by severity, then by load", () => {
    const rows = [one({ id: "a", active_mean: 1 }), one({ id: "b", active_mean: 50 }), one({ id: "c", status: "down" }), one({ id: "d", notes: [note()] })];
    expect(rows.sort((a, b) => severityOf(a) - severityOf(b)).map((row) => row.id)).toEqual(["c", "d", "b", "a"]);
  });
});

describe("summarize", () => {
  it("adds up, and success leaves out what is pending", () => {
    const sum = summarize([one({ sessions: 10, max_connections: 100, xacts_per_second: 5 }), one({ status: "down", sessions: 7 }), one({ xacts_per_second: null, coverage_calls: 0.5, newest_data: 5 })]);
    expect(sum.counts).toMatchObject({ planned: 300, stored: 270, missing: 6 });
    expect(sum.success).toBeCloseTo(270 / 294);
    expect(sum).toMatchObject({ reporting: 2, connected: 10, xacts: 5, wal: null, coverage: [{ calls: 0.5 }] });
  });
  it("has no success of nothing", () => expect(summarize([]).success).toBeNull());
});

describe("matches", () => {
  it("looks at names and labels", () => {
    expect([matches(one(), "shop", "all"), matches(one(), "ENV=prod db", "all"), matches(one(), "staging", "all"), matches(one(), "", "down")]).toEqual([true, true, false, false]);
  });
});

describe("isFirstRun", () => {
  it("ends with the first rate, or after three minutes", () => {
    expect(isFirstRun([], 0, 9999)).toBe(true);
    expect(isFirstRun([one()], 100, 110)).toBe(true);
    expect(isFirstRun([one({ xacts_per_second: 0 })], 100, 110)).toBe(false);
    expect(isFirstRun([one()], 100, 300)).toBe(false);
  });
});
