import { useQuery } from "@tanstack/react-query";
import { Outlet } from "@tanstack/react-router";
import { lazy, Suspense, useState } from "react";
import { isSignedOut } from "~/api/problem";
import { beginQuery, sessionQuery } from "~/api/queries";
import { TimeProvider } from "~/time/TimeProvider";
import { Shell } from "~/ui/Shell";
import { Failed, State } from "~/ui/State";

const SignIn = lazy(() => import("~/features/signin/Page"));

/** Nothing is shown, and nothing else is asked, before it is known who is there. */
export function Root() {
  const session = useQuery(sessionQuery());
  if (isSignedOut(session.error)) return <Suspense fallback={null}><SignIn /></Suspense>;
  if (session.isError) return <Failed what="The backend" error={session.error} onRetry={() => void session.refetch()} />;
  if (session.data === undefined) return <State kind="loading" title="Asking the backend" />;
  return <Clocked serverNow={session.data.now} />;
}

function Clocked({ serverNow }: { serverNow: number }) {
  // The skew is taken once, when the answer is fresh; later renders would add the time since.
  const [skew] = useState(() => {
    const ahead = serverNow - Date.now() / 1000;
    return Math.abs(ahead) < 2 ? 0 : ahead;
  });
  const begin = useQuery(beginQuery(Math.floor(serverNow)));
  // Without an answer the page shows the usual range: it must not wait for what only chooses a default.
  if (begin.data === undefined && !begin.isError) return <State kind="loading" title="Asking the backend" />;
  return (
    <TimeProvider skew={skew} begin={begin.data ?? { since: 0, interval: 0 }}>
      <Shell>
        <Outlet />
      </Shell>
    </TimeProvider>
  );
}
