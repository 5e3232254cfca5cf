import type { components } from "./schema.gen";

type Schemas = components["schemas"];
export type Instance = Schemas["Instance"];
export type InstanceDetail = Schemas["InstanceDetail"];
export type Note = Schemas["Note"];
export type Counts = Schemas["LedgerCounts"];
export type Ledger = Schemas["Ledger"];
export type LedgerGrid = Schemas["LedgerGrid"];
export type GridRow = LedgerGrid["rows"][number];
export type Collector = Schemas["Collector"];
export type Event = Schemas["Event"];
export type Series = Schemas["Series"];
export type Statements = Schemas["Statements"];
export type StatementItem = Schemas["StatementItem"];
export type StatementSums = Schemas["StatementSums"];
export type Statement = Schemas["Statement"];
export type Session = Schemas["Session"];
export type StartupStep = Schemas["StartupStep"];
