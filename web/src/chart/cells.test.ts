import { describe, expect, it } from "vitest";
import { addTallies, cellOf, nextException, tell } from "./cells";

describe("cells", () => {
  it("shows what was lost before what is only late", () => {
    expect(cellOf([6, 6, 0, 0, 0, 0, 0])).toMatchObject({ kind: "stored", foot: false });
    expect(cellOf([6, 0, 6, 0, 0, 0, 0])).toMatchObject({ kind: "failed", foot: false, hit: 6 });
    expect(cellOf([6, 4, 1, 0, 0, 1, 0])).toMatchObject({ kind: "failed", foot: true });
    expect(cellOf([2, 1, 0, 0, 0, 1, 0])).toMatchObject({ kind: "pending", foot: false });
    expect(cellOf([0, 0, 0, 0, 0, 0, 0]).kind).toBeNull();
  });
  it("adds rows up", () => expect(addTallies([[[1, 1, 0, 0, 0, 0, 0]], [[2, 0, 2, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]]])).toEqual([[3, 1, 2, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]]));
  it("goes from exception to exception", () => {
    const row = [[1, 1], [1, 0, 1], [0], [1, 1], [1, 0, 0, 1]].map(cellOf);
    expect([nextException(row, -1, 1), nextException(row, 1, 1), nextException(row, 4, 1), nextException(row, 4, -1)]).toEqual([1, 4, null, 1]);
  });
  it("quotes the reasons of a step, its end included", () => {
    const list = [{ time: 10, outcome: "failed", reason: "connect" }, { time: 20, outcome: "failed", reason: "connect", detail: "refused" }, { time: 20, outcome: "skipped", reason: "" }];
    expect(tell(list, 10, 20)).toEqual([{ text: "failed(connect)", detail: "refused", ticks: 1, first: 20 }, { text: "skipped", detail: "", ticks: 1, first: 20 }]);
  });
});
