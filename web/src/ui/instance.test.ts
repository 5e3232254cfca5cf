import { describe, expect, it } from "vitest";
import type { Note } from "~/api/types";
import { advice } from "./instance";

const note = (more: Partial<Note> = {}): Note => ({ family: "statements", reason: "ids_hidden", detail: "ids are hidden", since: 0, planned: true, ...more });

describe("advice", () => {
  it("tells one remedy once", () => {
    const grant = 'GRANT pg_read_all_stats TO "pga"';
    const list = advice([note({ remedy: grant }), note({ family: "activity", remedy: grant }), note({ family: "tables", database: "x", reason: "no_connect", remedy: "GRANT CONNECT" })]);
    expect(list.map(({ families, databases, remedy }) => ({ families, databases, remedy }))).toEqual([
      { families: ["statements", "activity"], databases: [], remedy: grant },
      { families: ["tables"], databases: ["x"], remedy: "GRANT CONNECT" },
    ]);
  });
});
