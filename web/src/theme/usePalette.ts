import { useComputedColorScheme } from "@mantine/core";
import { useMemo } from "react";
import { type Palette, readPalette } from "./palette";

const cache = new Map<string, Palette>();

/** The colours of the scheme in force, for what is painted on a canvas. The object is the same until the scheme changes. */
export function usePalette(): Palette {
  const scheme = useComputedColorScheme("dark");
  return useMemo(() => {
    const known = cache.get(scheme);
    if (known !== undefined) return known;
    const palette = readPalette(document.documentElement);
    cache.set(scheme, palette);
    return palette;
  }, [scheme]);
}
