import { describe, expect, it } from "vitest";
import { absolute, parseRange, rangeName, rangeSearch, relative, resolve, shift, shortName, spanOf, stepFor, zoom } from "./range";
import { between, clock, parseClock, span, stamp } from "./zone";

const now = 1_795_000_003;

describe("parseRange", () => {
  it("reads what it writes", () => {
    for (const range of [relative(3600), relative(90), relative(86_400), absolute(now - 7200, now - 3600)]) {
      const { from, to } = rangeSearch(range);
      expect(parseRange(from, to)).toEqual(range);
    }
  });
  it("leaves the default out of the URL", () => expect(rangeSearch(relative(3600))).toEqual({}));
  it.each([["now-0h", undefined], ["yesterday", "today"], ["2026-11-24T12:00:00Z", undefined], ["1795000000", "1794000000"], [undefined, undefined], ["now-1y", ""], [{}, []]])(
    "takes the default for %j to %j", (from, to) => expect(parseRange(from, to)).toEqual(relative(3600)),
  );
  it("reads seconds and RFC 3339", () => {
    expect(parseRange("1794990000", 1_795_000_000)).toEqual(absolute(1_794_990_000, 1_795_000_000));
    expect(parseRange("2026-11-24T12:00:00+02:00", "2026-11-24T11:00:00Z").span).toBe(3600);
  });
});

describe("the default range", () => {
  it.each([
    [null, 10, 60], [5, 10, 60], [61, 10, 300], [600, 10, 900], [900, 10, 900], [901, 10, 3600], [86_400, 10, 3600], [5, 60, 300], [5, 600, 3600],
  ])("%j s after the first reading, read every %d s, is %d s", (age, interval, span) => expect(spanOf(age === null ? null : now - age, now, interval)).toBe(span));
  it("is what a URL without a range, or with a broken one, shows", () => {
    expect(parseRange(undefined, undefined, 300)).toEqual(relative(300));
    expect(parseRange("now-0m", undefined, 300)).toEqual(relative(300));
    expect(parseRange("now-1h", undefined, 300)).toEqual(relative(3600));
  });
  it("is written when it was chosen, unless it is the hour that stays the default", () => {
    expect([rangeSearch(relative(300), 300), rangeSearch(relative(3600), 300), rangeSearch(relative(3600), 3600)]).toEqual([{ from: "now-5m" }, { from: "now-1h" }, {}]);
  });
});

describe("stepFor", () => {
  it("gives at most 400 points and never finer than the interval", () => {
    for (const interval of [1, 5, 7, 10, 30, 60, 300]) {
      for (const seconds of [60, 900, 3600, 86_400, 604_800, 7_776_000]) {
        const step = stepFor(seconds, interval);
        expect(seconds / step).toBeLessThanOrEqual(400);
        expect(step).toBeGreaterThanOrEqual(interval);
      }
    }
    expect(stepFor(3600, 10, 120)).toBe(30);
    expect([stepFor(3600, 10), stepFor(3600, 60), stepFor(86_400, 10)]).toEqual([10, 60, 300]);
  });
});

describe("resolve", () => {
  it("puts both ends on steps and keeps them between refreshes", () => {
    const first = resolve(relative(3600), now, 10);
    expect(first).toEqual({ from: 1_795_000_010 - 3600, to: 1_795_000_010, step: 10, live: true });
    expect(resolve(relative(3600), now + 6, 10)).toEqual(first);
    expect(resolve(relative(3600), now + 8, 10).to).toBe(first.to + 10);
  });
  it("covers an absolute range whole", () => expect(resolve(absolute(1003, 1_000_007), now, 10)).toMatchObject({ live: false, from: 0 }));
});

describe("moving", () => {
  it("shifts back by half and comes back to live", () => {
    const back = shift(relative(3600), -1, now);
    expect(back).toEqual(absolute(now - 5400, now - 1800));
    expect(shift(back, 1, now)).toEqual(relative(3600));
  });
  it("zooms a live range along the presets", () => {
    expect(zoom(relative(3600), "out", now).span).toBe(10_800);
    expect(zoom(relative(3600), "in", now).span).toBe(1800);
    expect(zoom(relative(60), "in", now).span).toBe(60);
  });
  it("zooms an absolute range about its middle, never past now", () => {
    expect(zoom(absolute(now - 7200, now - 3600), "in", now)).toEqual(absolute(now - 6300, now - 4500));
    expect(zoom(absolute(now - 3600, now), "out", now).to).toBe(now);
  });
  it("names itself", () => expect([rangeName(relative(3600)), rangeName(relative(5400)), rangeName(absolute(1, 100))]).toEqual(["Last 1 hour", "Last 90 minutes", ""]));
  it("is short on a button", () => expect([300, 5400, 86_400, 45].map(shortName)).toEqual(["5 min", "90 min", "1 d", "45 s"]));
});

describe("clock", () => {
  const noon = Date.UTC(2026, 10, 24, 12, 0, 0) / 1000;
  it("has 24 hours", () => expect([clock(noon + 3600, "UTC"), clock(noon - 43_200, "UTC")]).toEqual(["13:00:00", "00:00:00"]));
  it("names days only when needed", () => {
    expect(span(noon - 3600, noon, "UTC", noon)).toBe("11:00 – 12:00");
    expect(span(noon - 599, noon, "UTC", noon)).toBe("11:50:01 – 12:00:00");
    expect(span(noon - 46_800, noon - 43_000, "UTC", noon - 43_000)).toBe("23:00 – 00:03");
    expect(span(noon - 86_400, noon, "UTC", noon)).toBe("23 Nov 12:00 – 24 Nov 12:00");
    expect(span(noon - 3600, noon, "UTC", noon + 86_400)).toBe("24 Nov 11:00 – 12:00");
  });
});

describe("between", () => {
  const noon = Date.UTC(2026, 10, 24, 12, 0, 0) / 1000;
  it("names both days or none", () => {
    expect(between(noon - 60, noon, "UTC", noon)).toBe("11:59:00 – 12:00:00");
    expect(between(noon - 86_400, noon, "UTC", noon)).toBe("23 Nov 12:00:00 – 24 Nov 12:00:00");
    expect(between(noon - 60, noon, "UTC", noon + 86_400)).toBe("24 Nov 11:59:00 – 24 Nov 12:00:00");
  });
});

describe("written times", () => {
  it("reads what it writes", () => {
    for (const zone of ["UTC", "local"] as const) expect(parseClock(stamp(now, zone), zone)).toBe(now);
    expect(parseClock("2026-11-24 12:30", "UTC")).toBe(Date.UTC(2026, 10, 24, 12, 30) / 1000);
  });
  it.each([["yesterday"], ["2026-02-30 12:00"], ["2026-13-01 00:00"], ["2026-11-24"], ["2026-11-24 25:00"]])("refuses %s", (text) => expect(parseClock(text, "UTC")).toBeNull());
});
