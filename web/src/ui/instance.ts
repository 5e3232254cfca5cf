import type { Instance, Note } from "~/api/types";
import type { Tone } from "./Status";

// What is said of an instance on more than one page; pure.

export type State = "down" | "unknown" | "connecting" | "limited" | "up";

/** Reasons that the reader can do nothing about or has chosen: no limitation. */
const harmless = new Set(["version", "disabled", "columns_missing"]);

export function limits(instance: Pick<Instance, "notes">): Note[] {
  return instance.notes.filter((note) => !harmless.has(note.reason));
}

export function stateOf(instance: Instance): State {
  if (instance.status === "down") return "down";
  if (instance.status === "unknown") return instance.version === "" ? "connecting" : "unknown";
  return limits(instance).length > 0 ? "limited" : "up";
}

export const stateText: Record<State, string> = { down: "down", unknown: "unknown", connecting: "connecting", limited: "up, limited", up: "up" };
export const stateTone: Record<State, Tone> = { down: "critical", unknown: "nodata", connecting: "busy", limited: "warning", up: "ok" };
export const severity: Record<State, number> = { down: 0, unknown: 1, connecting: 2, limited: 3, up: 4 };

export function roleOf(instance: Instance): string | null {
  if (instance.version === "" || instance.in_recovery === undefined) return null;
  return instance.in_recovery ? "replica" : "primary";
}

/** "15.18 (Debian 15.18-0+deb12u1)" is 15.18; the whole text is for a hover. */
export function versionOf(instance: Pick<Instance, "version">): string {
  return instance.version.split(" ")[0] ?? "";
}

/** One remedy mends many: notes with the same reason and remedy are told once, with the places they hold for. */
export interface Advice {
  reason: string;
  detail: string;
  remedy: string;
  families: string[];
  databases: string[];
  planned: boolean;
}

/**
 * A collector whose role may not see shared_preload_libraries can only say in a comment what to add: the
 * statements are the same all the same, with a warning that the setting is replaced as a whole.
 */
export function remedyOf(note: Pick<Note, "reason" | "remedy">): string {
  const remedy = note.remedy ?? "";
  const library = note.reason === "not_loaded" ? /^-- add (\w+) to shared_preload_libraries[^\n]*/.exec(remedy) : null;
  if (library === null) return remedy;
  return [
    "-- As a superuser. First see what is loaded now:",
    "SHOW shared_preload_libraries;",
    "-- This replaces that list: write its names in front, each in quotes, or they are no longer loaded.",
    `ALTER SYSTEM SET shared_preload_libraries = '${library[1] ?? ""}';`,
    "-- Then restart PostgreSQL; a reload is not enough.",
    ...remedy.slice(library[0].length).split("\n").filter((line) => line !== ""),
  ].join("\n");
}

export function advice(notes: readonly Note[]): Advice[] {
  const found = new Map<string, Advice>();
  for (const note of notes) {
    const remedy = remedyOf(note);
    const key = `${note.reason}\n${remedy === "" ? note.detail : remedy}`;
    const known = found.get(key) ?? { reason: note.reason, detail: note.detail, remedy, families: [], databases: [], planned: true };
    if (!known.families.includes(note.family)) known.families.push(note.family);
    if (note.database !== undefined && note.database !== "" && !known.databases.includes(note.database)) known.databases.push(note.database);
    known.planned &&= note.planned ?? false;
    found.set(key, known);
  }
  return [...found.values()];
}
