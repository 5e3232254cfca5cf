import type { QueryClient } from "@tanstack/react-query";
import { createRootRouteWithContext, createRoute, createRouter, lazyRouteComponent, Link, parseSearchWith, retainSearchParams, stringifySearchWith } from "@tanstack/react-router";
import { Failed, State } from "~/ui/State";
import { Root } from "./Root";

interface Range {
  from?: string;
  to?: string;
}

interface FleetSearch {
  q?: string;
  state?: string;
  sort?: string;
}

interface StatementsSearch {
  sort?: string;
  limit?: number;
  database?: string;
  user?: string;
  text?: string;
  /** The statement that is open, and of which database and user; without them it is the sum over all. */
  open?: string;
  open_database?: string;
  open_user?: string;
}

interface CollectorsSearch {
  open?: string;
  sort?: string;
}

const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : typeof value === "number" || typeof value === "boolean" ? String(value) : undefined);

const root = createRootRouteWithContext<{ queryClient: QueryClient }>()({
  component: Root,
  validateSearch: (search): Range => ({ from: text(search["from"]), to: text(search["to"]) }),
  search: { middlewares: [retainSearchParams<Range>(["from", "to"])] },
  notFoundComponent: () => <State kind="empty" title="There is no such page"><Link to="/">To the fleet</Link></State>,
});

const fleet = createRoute({
  getParentRoute: () => root,
  path: "/",
  validateSearch: (search): FleetSearch => ({ q: text(search["q"]), state: text(search["state"]), sort: text(search["sort"]) }),
  component: lazyRouteComponent(() => import("~/features/fleet/Page")),
});
const instance = createRoute({
  getParentRoute: () => root,
  path: "/instances/$id",
  component: lazyRouteComponent(() => import("~/features/instance/Page")),
});
const statements = createRoute({
  getParentRoute: () => root,
  path: "/instances/$id/queries",
  validateSearch: (search): StatementsSearch => ({
    sort: text(search["sort"]),
    limit: typeof search["limit"] === "number" ? search["limit"] : undefined,
    database: text(search["database"]),
    user: text(search["user"]),
    text: text(search["text"]),
    open: text(search["open"]),
    open_database: text(search["open_database"]),
    open_user: text(search["open_user"]),
  }),
  component: lazyRouteComponent(() => import("~/features/statements/Page")),
});
const queries = createRoute({
  getParentRoute: () => root,
  path: "/queries",
  component: lazyRouteComponent(() => import("~/features/statements/Busiest")),
});
const collectors = createRoute({
  getParentRoute: () => root,
  path: "/collectors",
  validateSearch: (search): CollectorsSearch => ({ open: text(search["open"]), sort: text(search["sort"]) }),
  component: lazyRouteComponent(() => import("~/features/collectors/Page")),
});

export function newRouter(queryClient: QueryClient) {
  return createRouter({
    routeTree: root.addChildren([fleet, instance, statements, queries, collectors]),
    context: { queryClient },
    // Plain text, not JSON: a query id has more digits than a JSON number keeps.
    parseSearch: parseSearchWith((value) => value),
    stringifySearch: stringifySearchWith(String),
    defaultPreload: false,
    scrollRestoration: true,
    defaultPendingComponent: () => <State kind="loading" title="Loading the page" />,
    defaultErrorComponent: ({ error, reset }) => <Failed what="The page" error={error} onRetry={reset} />,
  });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof newRouter>;
  }
}
