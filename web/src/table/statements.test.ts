import { describe, expect, it } from "vitest";
import type { StatementItem, Statements } from "~/api/types";
import { accountShares, addUp, isOpen, numbers, openPlace, openSearch } from "./statements";

const item = (sums: Record<string, number>): StatementItem => ({ query_id: "-5", query: "select 1", database: "shop", user: "web", ...sums }) as unknown as StatementItem;

describe("numbers", () => {
  it("divides sums by the seconds that the frames cover", () => {
    const n = numbers({ calls: 302, total_exec_time: 2_766_300, rows: 556_284, shared_blks_hit: 914, shared_blks_read: 86, temp_blks_written: 3600, wal_bytes: 0 }, 3600);
    expect(n.load).toBeCloseTo(0.7684);
    expect(n.meanMs).toBeCloseTo(9160, 0);
    expect([n.rowsPerCall, n.hit, n.tempPerSecond, n.walPerSecond]).toEqual([1842, 0.914, 8192, 0]);
  });
  it("has no value where the server lacks the column or nothing was counted", () => {
    expect(numbers({ calls: 0, total_exec_time: 0, rows: 0 }, 60)).toEqual({ load: 0, callsPerSecond: 0, meanMs: null, rowsPerCall: null, hit: null, tempPerSecond: null, walPerSecond: null });
    expect(numbers({ calls: 5 }, 0).callsPerSecond).toBeNull();
  });
});

describe("what is open", () => {
  const rows = [{ query_id: "-5", database: "shop", user: "web" }, { query_id: "-5", database: "shop", user: "worker" }, { query_id: "7", database: "shop", user: "web" }];
  it("is the row that was opened", () => {
    const search = openSearch(rows[1] as (typeof rows)[number]);
    expect(rows.map((row) => isOpen(row, search))).toEqual([false, true, false]);
    expect(openPlace(search)).toEqual({ database: "shop", user: "worker" });
  });
  it("is every row of the statement without a whole place", () => {
    for (const search of [{ open: "-5" }, { open: "-5", open_user: "web" }]) expect(rows.map((row) => isOpen(row, search))).toEqual([true, true, false]);
    expect(rows.some((row) => isOpen(row, {}))).toBe(false);
  });
});

describe("the account", () => {
  const account = {
    items: [item({ calls: 1, total_exec_time: 333 }), item({ calls: 2, total_exec_time: 333 })],
    rest: { calls: 3, total_exec_time: 333 }, cut: { calls: 4, total_exec_time: 1 }, dropped: { calls: 0, total_exec_time: 0 }, total: { calls: 10, total_exec_time: 1000 },
  } as unknown as Statements;
  it("shares out the sorted column to 100.0", () => {
    expect(accountShares(account, "total_exec_time")).toEqual({ items: ["33.3", "33.3"], rest: "33.3", cut: "0.1", dropped: "0.0" });
    expect(accountShares(account, "calls")).toEqual({ items: ["10.0", "20.0"], rest: "30.0", cut: "40.0", dropped: "0.0" });
    expect(accountShares(account, "wal_bytes").rest).toBeNull();
  });
  it("adds up", () => expect(addUp(account.items, "calls")).toBe(3));
});
