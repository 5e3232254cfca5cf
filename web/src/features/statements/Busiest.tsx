import { useQuery } from "@tanstack/react-query";
import { Navigate } from "@tanstack/react-router";
import { instancesQuery } from "~/api/queries";
import { useTimeRange } from "~/time/TimeProvider";
import { busiest } from "~/ui/Shell";
import { Failed, State } from "~/ui/State";

/** "Queries" without an instance leads to the busiest one; the breadcrumb changes to any other. */
export default function Busiest() {
  const { data, error, isError, refetch } = useQuery(instancesQuery(useTimeRange()));
  if (data === undefined) return isError ? <Failed what="The fleet" error={error} onRetry={() => void refetch()} /> : <State kind="loading" title="Looking for the busiest instance" />;
  const found = busiest(data);
  if (found === undefined) return <State kind="empty" title="No instance is watched yet">Queries appear here when a collector has registered an instance.</State>;
  return <Navigate to="/instances/$id/queries" params={{ id: found.id }} replace />;
}
