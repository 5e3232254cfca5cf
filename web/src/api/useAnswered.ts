import { useState } from "react";

/**
 * When the newest answer came, in Unix seconds by the browser's clock, null before the first. Queries of a live
 * range change their key with time, so `dataUpdatedAt` of one that fails is 0 while older numbers still stand.
 */
export function useAnswered(dataUpdatedAt: number): number | null {
  const [newest, setNewest] = useState(dataUpdatedAt);
  if (dataUpdatedAt > newest) setNewest(dataUpdatedAt);
  const at = Math.max(newest, dataUpdatedAt);
  return at === 0 ? null : at / 1000;
}
