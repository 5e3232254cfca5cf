// Clock text. Always 24 hours; the zone is UTC or the browser's, chosen by the reader.

export type Zone = "UTC" | "local";

const cache = new Map<string, Intl.DateTimeFormat>();

function format(kind: "time" | "minute" | "day" | "date", zone: Zone): Intl.DateTimeFormat {
  const key = `${kind} ${zone}`;
  let found = cache.get(key);
  if (found === undefined) {
    const base: Intl.DateTimeFormatOptions = { hourCycle: "h23", timeZone: zone === "UTC" ? "UTC" : undefined };
    const parts: Record<typeof kind, Intl.DateTimeFormatOptions> = {
      time: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
      minute: { hour: "2-digit", minute: "2-digit" },
      day: { day: "numeric", month: "short" },
      date: { day: "numeric", month: "short", year: "numeric" },
    };
    found = new Intl.DateTimeFormat("en-GB", { ...base, ...parts[kind] });
    cache.set(key, found);
  }
  return found;
}

/** 12:18:50 */
export function clock(seconds: number, zone: Zone): string {
  return format("time", zone).format(seconds * 1000);
}

/** 12:18 */
export function clockMinute(seconds: number, zone: Zone): string {
  return format("minute", zone).format(seconds * 1000);
}

/** 14 Nov */
export function day(seconds: number, zone: Zone): string {
  return format("day", zone).format(seconds * 1000);
}

/** 14 Nov 2026 */
export function date(seconds: number, zone: Zone): string {
  return format("date", zone).format(seconds * 1000);
}

/** The clock alone when it is the same day as `reference`, else with the day in front. */
export function moment(seconds: number, zone: Zone, reference: number): string {
  const time = clock(seconds, zone);
  return day(seconds, zone) === day(reference, zone) && Math.abs(seconds - reference) < 86_400 ? time : `${day(seconds, zone)} ${time}`;
}

/** Two moments; both with their day as soon as one of them is not of the day of `reference`. */
export function between(from: number, to: number, zone: Zone, reference: number): string {
  const texts = [from, to].map((at) => moment(at, zone, reference));
  const plain = [from, to].map((at) => clock(at, zone));
  if (texts.every((text, i) => text === plain[i])) return texts.join(" – ");
  return [from, to].map((at) => `${day(at, zone)} ${clock(at, zone)}`).join(" – ");
}

/** 11:30 – 12:30; with days unless it is the last day and night, with seconds where a minute is much. */
export function span(from: number, to: number, zone: Zone, now: number): string {
  const text = to - from >= 900 || (from % 60 === 0 && to % 60 === 0) ? clockMinute : clock;
  const today = day(now, zone);
  const [first, last] = [day(from, zone), day(to, zone)];
  if (to - from < 86_400 && Math.abs(to - now) < 3600) return `${text(from, zone)} – ${text(to, zone)}`;
  if (first === last) return `${first === today ? "" : `${first} `}${text(from, zone)} – ${text(to, zone)}`;
  return `${first} ${text(from, zone)} – ${last} ${text(to, zone)}`;
}

/** Minutes east of UTC at that moment. */
export function offset(seconds: number, zone: Zone): number {
  return zone === "UTC" ? 0 : -new Date(seconds * 1000).getTimezoneOffset();
}

/** 2026-11-24 12:30:00, as the reader writes it. */
export function stamp(seconds: number, zone: Zone): string {
  return new Date((seconds + offset(seconds, zone) * 60) * 1000).toISOString().slice(0, 19).replace("T", " ");
}

/** Reads what `stamp` writes, with or without seconds; null when it is no time. */
export function parseClock(text: string, zone: Zone): number | null {
  const match = /^(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d)(?::(\d\d))?$/.exec(text.trim());
  if (match === null) return null;
  const [year, month, date, hour, minute, second] = match.slice(1).map((part) => Number(part ?? 0)) as [number, number, number, number, number, number];
  const at = zone === "UTC" ? Date.UTC(year, month - 1, date, hour, minute, second || 0) : new Date(year, month - 1, date, hour, minute, second || 0).getTime();
  const back = new Date(at);
  const same = zone === "UTC" ? back.getUTCDate() === date && back.getUTCHours() === hour : back.getDate() === date;
  return Number.isNaN(at) || !same || month > 12 || minute > 59 ? null : at / 1000;
}
