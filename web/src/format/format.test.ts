import { describe, expect, it } from "vitest";
import { age, ms } from "./duration";
import { count, exact, fixed, percent, shares, sig } from "./number";
import { bytes, scaleFor, value } from "./unit";

describe("sig", () => {
  it.each([
    [0, "0"], [0.003312, "0.00331"], [0.0842, "0.0842"], [0.768, "0.768"], [0.9996, "1.00"], [4.866, "4.87"], [41, "41.0"], [99.96, "100"],
    [212.4, "212"], [999.7, "1,000"], [1240.2, "1,240"], [18_412, "18,400"], [-12.345, "-12.3"], [1e9, "1,000,000,000"],
  ])("%d reads %s", (n, text) => expect(sig(n)).toBe(text));
  it("has a dash for what is not there", () => {
    expect([sig(null), sig(undefined), sig(Number.NaN), count(null), bytes(undefined), ms(null), age(null)]).toEqual(Array(7).fill("–"));
  });
});

describe("counts", () => {
  it("keeps every digit", () => expect([count(14_794_346), exact(1190.25), fixed(18_704, 1)]).toEqual(["14,794,346", "1,190.25", "18,704.0"]));
});

describe("percent", () => {
  it.each([[0.97056, 2, "97.06"], [0.99999, 1, "99.9"], [1, 1, "100.0"], [0.0001, 1, "<0.1"], [0, 1, "0.0"]])("%d", (share, digits, text) => {
    expect(percent(share, digits)).toBe(text);
  });
});

describe("shares", () => {
  it("adds up to 100.0 whatever the parts", () => {
    for (const parts of [[1, 1, 1], [17_266.9, 1_030.7, 114.6, 291.8], [0.1, 0, 7, 7, 7, 7, 7], [5]]) {
      const sum = shares(parts).reduce((total, text) => total + Math.round(Number(text) * 10), 0);
      expect(sum).toBe(1000);
    }
  });
  it("has none of nothing", () => expect(shares([0, 0])).toEqual([null, null]));
});

describe("ms", () => {
  it.each([[0, "0 ms"], [0.0214, "21.4 µs"], [4.87, "4.87 ms"], [9160, "9.16 s"], [59_999, "60.0 s"], [600_000, "10.0 min"], [-5, "-5.00 ms"]])("%d", (n, text) => expect(ms(n)).toBe(text));
});

describe("age", () => {
  it.each([[0, "0 s"], [7, "7 s"], [252, "4 min 12 s"], [702, "11 min 42 s"], [3600, "1 h"], [3661, "1 h 1 min"], [856_800, "9 d 22 h"], [59.7, "1 min"]])("%d s", (n, text) => expect(age(n)).toBe(text));
});

describe("bytes", () => {
  it.each([[0, "0"], [17, "17 bytes"], [1023, "1,023 bytes"], [1024, "1.00 kB"], [8192, "8.00 kB"], [1_174_405, "1.12 MB"], [656e9, "611 GB"]])("%d", (n, text) => expect(bytes(n)).toBe(text));
});

describe("units", () => {
  it("chooses one unit for an axis", () => {
    expect(scaleFor("bytes/s", 5e6)).toEqual({ by: 1024 ** 2, label: "MB/s" });
    expect(scaleFor("ms/s", 1200)).toEqual({ by: 1000, label: "s/s" });
    expect(scaleFor("ms/s", 3)).toEqual({ by: 1, label: "ms/s" });
    expect(scaleFor("us", 21_000)).toEqual({ by: 1000, label: "ms" });
    expect(scaleFor("ms", 0.2).label).toBe("µs");
    expect(scaleFor("sessions", 90)).toEqual({ by: 1, label: "sessions" });
    expect(scaleFor("/s", 90)).toEqual({ by: 1, label: "/s" });
    expect(scaleFor("ratio", 0.4)).toEqual({ by: 0.01, label: "%" });
  });
  it("writes one value with its unit", () => {
    expect([value(2.96 * 1024 ** 2, "bytes/s"), value(768, "ms/s"), value(9160, "ms"), value(91, "sessions"), value(1190.2, "/s"), value(0.984, "ratio"), value(null, "ms"), value(700, "s")]).toEqual([
      "2.96 MB/s", "0.768 s/s", "9.16 s", "91 sessions", "1,190/s", "98.4 %", "–", "11 min 40 s",
    ]);
  });
});
