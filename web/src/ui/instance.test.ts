import { describe, expect, it } from "vitest";
import type { Note } from "~/api/types";
import { advice, remedyOf, versionOf } from "./instance";

const note = (more: Partial<Note> = {}): Note => ({ family: "statements", reason: "ids_hidden", detail: "ids are hidden", since: 0, planned: true, ...more });

describe("versionOf", () => {
  it.each([["15.18 (Debian 15.18-0+deb12u1)", "15.18"], ["18beta1", "18beta1"], ["", ""]])("%s is %s", (version, text) => expect(versionOf({ version })).toBe(text));
});

describe("remedyOf", () => {
  const unseen = "-- add pg_stat_statements to shared_preload_libraries and restart the server\nCREATE EXTENSION pg_stat_statements;";
  it("completes what only a comment could say, and warns that it replaces", () => {
    const lines = remedyOf({ reason: "not_loaded", remedy: unseen }).split("\n");
    expect(lines.filter((line) => !line.startsWith("--"))).toEqual(["SHOW shared_preload_libraries;", "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements';", "CREATE EXTENSION pg_stat_statements;"]);
    expect(lines[2]).toContain("replaces");
    expect(lines[4]).toContain("restart");
  });
  it("keeps what is complete", () => {
    const seen = "ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'pg_stat_statements'; -- then restart the server";
    expect([remedyOf({ reason: "not_loaded", remedy: seen }), remedyOf({ reason: "ids_hidden", remedy: unseen }), remedyOf({ reason: "not_loaded" })]).toEqual([seen, unseen, ""]);
  });
});

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
