import { type Maybe, missing, sig } from "./number";

/** A time in milliseconds with the unit that fits: 214 µs, 4.87 ms, 9.16 s, 3.5 min. */
export function ms(n: Maybe): string {
  if (n === null || n === undefined || Number.isNaN(n)) return missing;
  const size = Math.abs(n);
  if (size === 0) return "0 ms";
  if (size < 0.9995) return `${sig(n * 1000)} µs`;
  if (size < 999.5) return `${sig(n)} ms`;
  if (size < 119_950) return `${sig(n / 1000)} s`;
  if (size < 7_200_000) return `${sig(n / 60_000)} min`;
  if (size < 172_800_000) return `${sig(n / 3_600_000)} h`;
  return `${sig(n / 86_400_000)} d`;
}

const parts = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]] as const;

/** An age in seconds, two neighbouring units at most: 7 s, 4 min 12 s, 9 d 22 h. */
export function age(seconds: Maybe): string {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return missing;
  let left = Math.max(0, Math.round(seconds));
  if (left >= 7_200) left = Math.round(left / 60) * 60;
  if (left >= 172_800) left = Math.round(left / 3_600) * 3_600;
  const first = parts.findIndex(([, size]) => left >= size);
  if (first < 0) return "0 s";
  const shown = parts.slice(first, first + 2).map(([unit, size]) => {
    const n = Math.floor(left / size);
    left -= n * size;
    return n > 0 ? `${n} ${unit}` : "";
  });
  return shown.filter((text) => text !== "").join(" ");
}
