// Every query key is built here, so that invalidation and sharing can be seen in one place.

interface Window {
  from: number;
  to: number;
}

export const keys = {
  session: () => ["session"] as const,
  begin: () => ["begin"] as const,
  startup: () => ["startup"] as const,
  instances: (w: Window) => ["instances", w.from, w.to] as const,
  instance: (id: string, w: Window) => ["instance", id, w.from, w.to] as const,
  events: (w: Window, instance?: string) => ["events", instance ?? "", w.from, w.to] as const,
  ledger: (w: Window, instance?: string) => ["ledger", instance ?? "", w.from, w.to] as const,
  ledgerGrid: (w: Window, step: number) => ["ledger-grid", w.from, w.to, step] as const,
  collectors: (w: Window) => ["collectors", w.from, w.to] as const,
  series: (id: string, w: Window, step: number, what: Record<string, string>) => ["series", id, w.from, w.to, step, what] as const,
  statements: (id: string, w: Window, what: Record<string, string | number>) => ["statements", id, w.from, w.to, what] as const,
  statement: (id: string, w: Window, queryId: string) => ["statement", id, w.from, w.to, queryId] as const,
};
