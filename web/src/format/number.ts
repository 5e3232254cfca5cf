// Text of numbers, and nowhere else. Three significant digits are shown, the exact value is on hover.

export const missing = "–";

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const exactly = new Intl.NumberFormat("en-US", { maximumFractionDigits: 9 });

export type Maybe = number | null | undefined;

function absent(n: Maybe): n is null | undefined {
  return n === null || n === undefined || Number.isNaN(n);
}

/** A count in full: 14,794,346. */
export function count(n: Maybe): string {
  return absent(n) ? missing : grouped.format(n);
}

/** In full, with all decimals that are there. */
export function exact(n: Maybe): string {
  return absent(n) ? missing : exactly.format(n);
}

/** Three significant digits without exponent: 0.00331, 0.768, 41.0, 1,240, 18,400. Zero is "0". */
export function sig(n: Maybe): string {
  if (absent(n)) return missing;
  if (n === 0) return "0";
  if (!Number.isFinite(n)) return n > 0 ? "∞" : "-∞";
  const size = Math.floor(Math.log10(Math.abs(Number(n.toPrecision(3)))));
  if (size >= 3) {
    const unit = 10 ** (size - 2);
    return grouped.format(Math.round(n / unit) * unit);
  }
  return n.toFixed(Math.min(2 - size, 20));
}

/** A fixed number of decimals, grouped: 18,704.0. */
export function fixed(n: Maybe, digits: number): string {
  if (absent(n)) return missing;
  return n.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A share of one in per cent without the sign. Never reads 100 unless it is all, nor 0 unless it is nothing. */
export function percent(share: Maybe, digits = 1): string {
  if (absent(share)) return missing;
  const scale = 10 ** digits;
  let value = Math.round(share * 100 * scale) / scale;
  if (share < 1 && value >= 100) value = 100 - 1 / scale;
  if (share > 0 && value <= 0) return `<${(1 / scale).toFixed(digits)}`;
  return value.toFixed(digits);
}

/** Percentages of parts that add up to exactly 100.0 (largest remainder); all null when the whole is 0. */
export function shares(parts: readonly number[], digits = 1): (string | null)[] {
  const whole = parts.reduce((sum, part) => sum + part, 0);
  if (!(whole > 0)) return parts.map(() => null);
  const scale = 100 * 10 ** digits;
  const units = parts.map((part) => (part / whole) * scale);
  const floors = units.map((unit) => Math.floor(unit + 1e-9));
  let left = Math.round(scale - floors.reduce((sum, unit) => sum + unit, 0));
  const order = units.map((unit, i) => ({ i, frac: unit - (floors[i] ?? 0) })).sort((a, b) => b.frac - a.frac || a.i - b.i);
  for (const { i } of order) {
    if (left <= 0) break;
    floors[i] = (floors[i] ?? 0) + 1;
    left--;
  }
  return floors.map((unit) => (unit / 10 ** digits).toFixed(digits));
}
