import { describe, expect, it } from "vitest";
import type { Statement, Statements } from "~/api/types";
import { digitsFor, equation, imbalance, parseLimit, perCall, seriesWhere, sumsOf } from "./model";

describe("equation", () => {
  it("writes parts that add up to the written total", () => {
    const number = (text: string) => Number(text.replaceAll(",", ""));
    for (const values of [{ items: 17_266.94, rest: 1_030.74, cut: 114.64, dropped: 291.84 }, { items: 0.05, rest: 0.05, cut: 0.05, dropped: 0.05 }, { items: 1 / 3, rest: 1 / 3, cut: 1 / 3, dropped: 0 }]) {
      for (const digits of [0, 1, 3]) {
        const text = equation(values, digits);
        expect(number(text.items) + number(text.rest) + number(text.cut) + number(text.dropped)).toBeCloseTo(number(text.total), 9);
      }
    }
  });
  it("keeps every call", () => expect(equation({ items: 12_847_133, rest: 1_618_442, cut: 92_817, dropped: 235_954 }, 0)).toEqual({ total: "14,794,346", items: "12,847,133", rest: "1,618,442", cut: "92,817", dropped: "235,954" }));
  it("takes more digits for less time", () => expect([18_704, 40, 0.3].map(digitsFor)).toEqual([1, 2, 3]));
});

describe("imbalance", () => {
  const account = (total: number) => ({ items: [{ calls: 5 }], rest: { calls: 3 }, cut: { calls: 1 }, dropped: {}, total: { calls: total } }) as unknown as Statements;
  it("is nothing when the account closes", () => expect(imbalance(account(9), "calls")).toBe(0));
  it("is seen when it does not", () => expect(imbalance(account(10), "calls")).toBe(1));
});

describe("one statement", () => {
  it("has no mean where nothing was called", () => expect(perCall([10, 0, null, 4], [2, 0, 1, null])).toEqual([5, null, null, null]));
  it("has the numbers of the row that was opened, or of all", () => {
    const statement = { items: [{ query_id: "1", query: null, database: "shop", user: "web", calls: 3 }, { query_id: "1", query: null, database: "shop", user: "worker", calls: 4 }], total: { calls: 7 } } as unknown as Statement;
    expect([null, { database: "shop", user: "worker" }, { database: "billing", user: "web" }].map((place) => sumsOf(statement, place)?.calls)).toEqual([7, 4, undefined]);
    expect([seriesWhere("1", null), seriesWhere("1", { database: "shop", user: "web" })]).toEqual([{ queryid: "1" }, { queryid: "1", dbid: "shop", userid: "web" }]);
  });
  it("takes a known limit only", () => expect([15, 50, 7, undefined, 1000].map(parseLimit)).toEqual([15, 50, 15, 15, 1000]));
});
