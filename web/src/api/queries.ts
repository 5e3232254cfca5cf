import { keepPreviousData, QueryClient, queryOptions, QueryCache } from "@tanstack/react-query";
import { client, unwrap } from "./client";
import { keys } from "./keys";
import { ApiProblem, isSignedOut } from "./problem";

// The queries that more than two features share; a feature's own stand in its queries.ts.

interface Window {
  from: number;
  to: number;
}

/** Windows travel as whole seconds, so that the server and the cache see the same text again. */
export function windowQuery({ from, to }: Window): { from: string; to: string } {
  return { from: String(from), to: String(to) };
}

export function newQueryClient(): QueryClient {
  const queryClient: QueryClient = new QueryClient({
    queryCache: new QueryCache({
      onError: (reason, query) => {
        // Signed out in the middle: ask who we are, which brings the sign-in page.
        if (isSignedOut(reason) && query.queryKey[0] !== "session") void queryClient.invalidateQueries({ queryKey: keys.session() });
      },
    }),
    defaultOptions: {
      queries: {
        staleTime: 5_000,
        gcTime: 60_000, // windows move on: what was asked for a minute ago is not asked again
        refetchOnWindowFocus: false,
        placeholderData: keepPreviousData,
        retry: (failures, reason) => failures < 2 && reason instanceof ApiProblem && reason.passing,
        retryDelay: (failures) => 500 * 2 ** failures,
      },
    },
  });
  return queryClient;
}

export const sessionQuery = () =>
  queryOptions({ queryKey: keys.session(), queryFn: ({ signal }) => unwrap(client.GET("/api/v1/session", { signal })), staleTime: Number.POSITIVE_INFINITY, placeholderData: undefined });

export function signIn(token: string) {
  return unwrap(client.POST("/api/v1/session", { body: { token } }));
}

export function signOut() {
  return unwrap(client.DELETE("/api/v1/session"));
}

export const instancesQuery = (window: Window) =>
  queryOptions({
    queryKey: keys.instances(window),
    queryFn: async ({ signal }) => (await unwrap(client.GET("/api/v1/instances", { params: { query: windowQuery(window) }, signal }))).items,
  });

/** When the first reading of any instance was, and the longest interval: what the default range depends on. */
export const beginQuery = (now: number) =>
  queryOptions({
    queryKey: keys.begin(),
    queryFn: async ({ signal }) => {
      const { items } = await unwrap(client.GET("/api/v1/instances", { params: { query: windowQuery({ from: now - 60, to: now }) }, signal }));
      const seen = items.flatMap((one) => (one.newest_data == null || one.first_seen == null ? [] : [one.first_seen]));
      return { since: seen.length === 0 ? null : Math.min(...seen), interval: Math.max(0, ...items.map((one) => one.interval ?? 0)) };
    },
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: Number.POSITIVE_INFINITY,
    refetchInterval: (query) => (query.state.data?.since === null ? 3000 : false),
  });

export const instanceQuery = (id: string, window: Window) =>
  queryOptions({
    queryKey: keys.instance(id, window),
    queryFn: ({ signal }) => unwrap(client.GET("/api/v1/instances/{id}", { params: { path: { id }, query: windowQuery(window) }, signal })),
    placeholderData: (previous) => (previous?.id === id ? previous : undefined),
  });

export const eventsQuery = (window: Window, instance?: string) =>
  queryOptions({
    queryKey: keys.events(window, instance),
    queryFn: async ({ signal }) => (await unwrap(client.GET("/api/v1/events", { params: { query: { ...windowQuery(window), instance, limit: 200 } }, signal }))).items,
  });

/** One column over time with the grid that it lies on, so that a chart never mixes old data with a new axis. */
export const seriesQuery = (id: string, window: Window, step: number, what: Record<string, string>) =>
  queryOptions({
    queryKey: keys.series(id, window, step, what),
    queryFn: async ({ signal }) => {
      // Keys and labels of the family are filters too: the description cannot name them.
      const query = { ...windowQuery(window), step, ...what } as unknown as { family: string; column: string };
      const data = await unwrap(client.GET("/api/v1/instances/{id}/series", { params: { path: { id }, query }, signal }));
      return { ...data, grid: { from: window.from, to: window.to, step } };
    },
    placeholderData: (previous, query) => (query?.queryKey[1] === id ? previous : undefined),
  });
