import { useNavigate, useSearch } from "@tanstack/react-router";
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useState } from "react";
import { absolute, parseRange, type Range, rangeSearch, relative, resolve, type Resolved, shift, spanOf, zoom } from "./range";
import type { Zone } from "./zone";

interface Time {
  /** Seconds that the server's clock is ahead of the browser's. */
  skew: number;
  range: Range;
  /** Unix seconds by the server's clock, moved on once per refresh: everything on the page agrees on it. */
  now: number;
  /** Seconds between refreshes; null when the range is absolute or the reader paused. */
  every: number | null;
  paused: boolean;
  zone: Zone;
  setZone: (zone: Zone) => void;
  setPaused: (paused: boolean) => void;
  setRelative: (span: number) => void;
  setAbsolute: (from: number, to: number) => void;
  shift: (direction: -1 | 1) => void;
  zoom: (direction: "in" | "out") => void;
}

const Context = createContext<Time | null>(null);
const zoneKey = "pga-zone";
const refresh = 10;

function storedZone(): Zone {
  try {
    return localStorage.getItem(zoneKey) === "local" ? "local" : "UTC";
  } catch {
    return "UTC";
  }
}

interface Props {
  /** Seconds that the server's clock is ahead of the browser's. */
  skew: number;
  /** When the first reading was, null before it; the longest interval of all instances, in seconds. */
  begin: { since: number | null; interval: number };
  children: ReactNode;
}

export function TimeProvider({ skew, begin, children }: Props) {
  const { from, to } = useSearch({ strict: false }) as { from?: unknown; to?: unknown };
  const navigate = useNavigate();
  const clock = useCallback(() => Date.now() / 1000 + skew, [skew]);
  const [now, setNow] = useState(clock);
  const [paused, setPaused] = useState(false);
  const [zone, setZoneState] = useState(storedZone);
  const fallback = spanOf(begin.since, now, begin.interval);
  const range = useMemo(() => parseRange(from, to, fallback), [from, to, fallback]);
  const live = range.from === null && !paused;

  useEffect(() => {
    if (!live) return undefined;
    const tick = () => document.visibilityState === "visible" && setNow(clock());
    tick();
    const timer = setInterval(tick, refresh * 1000);
    document.addEventListener("visibilitychange", tick);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", tick);
    };
  }, [live, clock]);

  const setRange = useCallback(
    (next: Range) => {
      setNow(clock());
      const found = rangeSearch(next, fallback);
      void navigate({ to: ".", search: (old) => ({ ...old, from: found.from, to: found.to }) });
    },
    [navigate, clock, fallback],
  );
  const value = useMemo<Time>(
    () => ({
      skew,
      range,
      now,
      every: live ? refresh : null,
      paused,
      zone,
      setZone: (next) => {
        setZoneState(next);
        try {
          localStorage.setItem(zoneKey, next);
        } catch {
          // A browser that keeps nothing still shows the zone until it is closed.
        }
      },
      setPaused,
      setRelative: (span) => setRange(relative(span)),
      setAbsolute: (start, end) => setRange(absolute(start, end)),
      shift: (direction) => setRange(shift(range, direction, clock())),
      zoom: (direction) => setRange(zoom(range, direction, clock())),
    }),
    [skew, range, now, live, paused, zone, setRange, clock],
  );
  return <Context value={value}>{children}</Context>;
}

export function useTime(): Time {
  const value = useContext(Context);
  if (value === null) throw new Error("useTime outside of TimeProvider");
  return value;
}

/** The range of the page in whole steps; `interval` is how often the data comes, in seconds. */
export function useTimeRange(interval = 10): Resolved {
  const { range, now } = useTime();
  const { from, to, step, live } = resolve(range, now, interval);
  return useMemo(() => ({ from, to, step, live }), [from, to, step, live]);
}
