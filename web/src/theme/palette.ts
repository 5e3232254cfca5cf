// Canvas cannot read CSS variables, so charts resolve the tokens once per colour scheme.
const names = [
  "surface", "panel", "text", "dim", "line", "grid", "accent", "data", "data-2", "data-3", "data-fill", "idle", "idle-edge", "hatch", "hatch-light",
  "cursor", "inverse", "on-inverse", "ok", "warning", "critical", "nodata",
  "wait-cpu", "wait-io", "wait-lock", "wait-lwlock", "wait-bufferpin", "wait-ipc", "wait-client", "wait-timeout", "wait-extension", "wait-other",
] as const;

export type Token = (typeof names)[number];
export type Palette = Record<Token, string>;

export function readPalette(root: Element): Palette {
  const style = getComputedStyle(root);
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()])) as Palette;
}

/** Wait classes in stack order, as pg_stat_activity.wait_event_type names them; null is running on CPU. */
export const waits = ["CPU", "IO", "Lock", "LWLock", "BufferPin", "IPC", "Client", "Timeout", "Extension", "Other"] as const;

export function waitToken(type: string): Token {
  const index = waits.findIndex((wait) => wait.toLowerCase() === type.toLowerCase());
  return index < 0 ? "wait-other" : (`wait-${(waits[index] ?? "other").toLowerCase()}` as Token);
}
