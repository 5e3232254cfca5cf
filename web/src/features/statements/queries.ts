import { queryOptions } from "@tanstack/react-query";
import { client, unwrap } from "~/api/client";
import { keys } from "~/api/keys";
import { windowQuery } from "~/api/queries";

export const statementQuery = (id: string, window: { from: number; to: number }, queryId: string) =>
  queryOptions({
    queryKey: keys.statement(id, window, queryId),
    queryFn: ({ signal }) => unwrap(client.GET("/api/v1/instances/{id}/statements/{query_id}", { params: { path: { id, query_id: queryId }, query: windowQuery(window) }, signal })),
    placeholderData: (previous) => (previous?.query_id === queryId ? previous : undefined),
  });
