import { useSyncExternalStore } from "react";

// One moment under the pointer, shared by every chart of the page: uPlot draws the lines, legends
// read the moment here.
let moment: number | null = null;
const listeners = new Set<() => void>();

export const crosshairKey = "pga";

export function setCrosshair(at: number | null): void {
  if (at === moment) return;
  moment = at;
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The moment in Unix seconds, null when the pointer is on no chart. */
export function useCrosshair(): number | null {
  return useSyncExternalStore(subscribe, () => moment, () => null);
}
