import { describe, expect, it } from "vitest";
import { compare, hold, parseSort, sorted, sortText } from "./rows";

const fallback = { id: "load", desc: true };

describe("sort in the URL", () => {
  it("reads what it writes and leaves the default out", () => {
    for (const sort of [fallback, { id: "load", desc: false }, { id: "calls", desc: true }]) expect(parseSort(sortText(sort, fallback), ["load", "calls"], fallback)).toEqual(sort);
    expect(sortText(fallback, fallback)).toBeUndefined();
  });
  it.each([["-nothing"], [7], [undefined], ["-"], ["--load"]])("takes the default for %j", (text) => expect(parseSort(text, ["load", "calls"], fallback)).toEqual(fallback));
});

describe("compare", () => {
  it("puts missing values last in either direction", () => {
    for (const desc of [true, false]) expect([3, null, 1, undefined, 2].sort((a, b) => compare(a, b, desc)).slice(3)).toEqual(expect.arrayContaining([null]));
    expect([1, null, 2].sort((a, b) => compare(a, b, true))).toEqual([2, 1, null]);
  });
  it("sorts a copy", () => {
    const rows = [{ n: 1 }, { n: null }, { n: 3 }];
    expect([sorted(rows, (row) => row.n, true).map((row) => row.n), rows.map((row) => row.n)]).toEqual([[3, 1, null], [1, null, 3]]);
  });
  it("numbers names", () => expect(["db-10", "db-2", "db-1"].sort((a, b) => compare(a, b, false))).toEqual(["db-1", "db-2", "db-10"]));
});

describe("hold", () => {
  it("keeps the order under the pointer", () => {
    const rows = ["d", "b", "a"];
    expect(hold(rows, (row) => row, null)).toEqual(["d", "b", "a"]);
    expect(hold(rows, (row) => row, ["a", "b", "c"])).toEqual(["a", "b", "d"]);
  });
});
