import { useState } from "react";

/**
 * The newest good answer: while a later question fails, the old numbers stay, told to be old. `scope` is
 * what they are of; numbers of another scope are never shown.
 */
export function useKept<T>(data: T | undefined, scope: string): T | undefined {
  const [kept, setKept] = useState<{ scope: string; data: T | undefined }>({ scope, data });
  if (data !== undefined && (kept.data !== data || kept.scope !== scope)) setKept({ scope, data });
  return data ?? (kept.scope === scope ? kept.data : undefined);
}
