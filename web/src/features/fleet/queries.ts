import { queryOptions } from "@tanstack/react-query";
import { client, unwrap } from "~/api/client";
import { keys } from "~/api/keys";
import { windowQuery } from "~/api/queries";

interface Window {
  from: number;
  to: number;
}

export const startupQuery = (hurry: boolean) =>
  queryOptions({
    queryKey: keys.startup(),
    queryFn: ({ signal }) => unwrap(client.GET("/api/v1/startup", { signal })),
    refetchInterval: hurry ? 1000 : false,
    staleTime: hurry ? 0 : 60_000,
  });

/** Only the reasons: how many ticks were not stored, and why. */
export const ledgerReasonsQuery = (window: Window) =>
  queryOptions({
    queryKey: keys.ledger(window),
    queryFn: ({ signal }) => unwrap(client.GET("/api/v1/ledger", { params: { query: { ...windowQuery(window), limit: 1 } }, signal })),
  });
