import { age, ms } from "./duration";
import { count, exact, type Maybe, missing, sig } from "./number";

// Units as the catalog and the API name them; a rate adds "/s".

const sizes = ["bytes", "kB", "MB", "GB", "TB", "PB"] as const;

/** Sizes as pg_size_pretty counts them (1024), three significant digits: 8.00 kB, 611 GB. */
export function bytes(n: Maybe): string {
  if (n === null || n === undefined || Number.isNaN(n)) return missing;
  if (n === 0) return "0";
  let value = n;
  let index = 0;
  while (Math.abs(value) >= (index === 0 ? 1023.5 : 999.5) && index < sizes.length - 1) {
    value /= 1024;
    index++;
  }
  return `${index === 0 && Number.isInteger(value) ? count(value) : sig(value)} ${sizes[index]}`;
}

export interface Scale {
  /** What the number is divided by to be shown in `label`. */
  by: number;
  label: string;
}

function isRate(unit: string): boolean {
  return unit.endsWith("/s");
}

export function baseUnit(unit: string): string {
  return isRate(unit) ? unit.slice(0, -2) : unit;
}

/** One unit for a whole axis or column, fit for the largest value. Axes are never per-value. */
export function scaleFor(unit: string, largest: number): Scale {
  const tail = isRate(unit) ? "/s" : "";
  const base = baseUnit(unit);
  const size = Math.abs(largest);
  if (base === "bytes" || base === "B") {
    let index = 0;
    let by = 1;
    while (size / by >= 1000 && index < sizes.length - 1) {
      by *= 1024;
      index++;
    }
    return { by, label: `${sizes[index]}${tail}` };
  }
  if (base === "ms" && tail === "/s") return size > 0 && size < 100 ? { by: 1, label: "ms/s" } : { by: 1000, label: "s/s" };
  if (base === "ms") {
    if (size >= 7_200_000) return { by: 3_600_000, label: "h" };
    if (size >= 120_000) return { by: 60_000, label: "min" };
    if (size >= 1_000) return { by: 1000, label: "s" };
    if (size > 0 && size < 1) return { by: 0.001, label: "µs" };
    return { by: 1, label: "ms" };
  }
  if (base === "us" || base === "µs") {
    const inner = scaleFor(`ms${tail}`, size / 1000);
    return { by: inner.by * 1000, label: inner.label };
  }
  if (base === "s" && tail === "") {
    const inner = scaleFor("ms", size * 1000);
    return { by: inner.by / 1000, label: inner.label };
  }
  if (base === "ratio" || base === "%") return { by: base === "%" ? 1 : 0.01, label: `%${tail}` };
  return { by: 1, label: `${base === "" || base === "count" || base === "1" ? "" : base}${tail}` };
}

/** One value with its own unit, as in a tile or a tooltip. */
export function value(n: Maybe, unit: string): string {
  if (n === null || n === undefined || Number.isNaN(n)) return missing;
  const tail = isRate(unit) ? "/s" : "";
  const base = baseUnit(unit);
  if (base === "bytes" || base === "B") return n === 0 ? "0" : `${bytes(n)}${tail}`;
  if (base === "ms" && tail === "") return ms(n);
  if ((base === "us" || base === "µs") && tail === "") return ms(n / 1000);
  if (base === "s" && tail === "") return Math.abs(n) >= 60 ? age(n) : ms(n * 1000);
  const { by, label } = scaleFor(unit, n);
  const text = by === 1 && tail === "" && Number.isInteger(n) ? count(n) : sig(n / by);
  return label === "" ? text : `${text}${label.startsWith("/") ? "" : " "}${label}`;
}

/** For titles on hover: every digit, in the unit of the API. */
export function exactValue(n: Maybe, unit: string): string {
  if (n === null || n === undefined || Number.isNaN(n)) return missing;
  return unit === "" ? exact(n) : `${exact(n)} ${unit}`;
}
