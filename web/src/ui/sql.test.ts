import { describe, expect, it } from "vitest";
import { broken, oneLine, tokens } from "./sql";

const kinds = (sql: string) => tokens(sql).filter((token) => token.text.trim() !== "").map((token) => `${token.kind}:${token.text}`);

describe("tokens", () => {
  it("colours a statement", () => {
    expect(kinds("select count(*), 'it''s' from \"Or\" where a = $1 and b > 1.5 -- x")).toEqual([
      "keyword:select", "function:count", "plain:(*), ", "string:'it''s'", "keyword:from", 'ident:"Or"', "keyword:where", "ident:a", "plain: = ", "param:$1", "keyword:and", "ident:b", "plain: > ", "number:1.5", "comment:-- x",
    ]);
  });
  it("loses nothing, whatever it meets", () => {
    const hostile = ["", "'", "$$ body $$ $1", "/* open", '"', "e'\\'", "select\u0000\ud83d\ude00 é(1)", "$x$ a $y$ b $x$", "\\\\;;", "a$b$c", "1e5x"];
    for (const sql of hostile) expect(tokens(sql).map((token) => token.text).join("")).toBe(sql);
  });
});

describe("lines", () => {
  it("joins lines but not strings", () => expect(oneLine("select\n   'a\n b'  ,\n 1 -- c\n from t")).toBe("select 'a\n b' , 1 from t"));
  it("breaks a long statement before its clauses", () => {
    expect(broken("select a, (select max(b) from u where u.c = 1) from t left join u on t.id = u.id where a = $1 and b = $2 order by a")).toBe(
      "select a, (select max(b) from u where u.c = 1)\nfrom t\nleft join u on t.id = u.id\nwhere a = $1\n  and b = $2\norder by a",
    );
  });
  it("leaves a statement with lines alone", () => expect(broken("select 1\n  from t")).toBe("select 1\n  from t"));
});
