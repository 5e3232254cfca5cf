import { queryOptions } from "@tanstack/react-query";
import { client, unwrap } from "~/api/client";
import { keys } from "~/api/keys";
import { windowQuery } from "~/api/queries";

interface Window {
  from: number;
  to: number;
}

export const collectorsQuery = (window: Window) =>
  queryOptions({
    queryKey: keys.collectors(window),
    queryFn: async ({ signal }) => (await unwrap(client.GET("/api/v1/collectors", { params: { query: windowQuery(window) }, signal }))).items,
  });

export const ledgerGridQuery = (window: Window, step: number) =>
  queryOptions({
    queryKey: keys.ledgerGrid(window, step),
    queryFn: ({ signal }) => unwrap(client.GET("/api/v1/ledger/grid", { params: { query: { ...windowQuery(window), step } }, signal })),
  });
