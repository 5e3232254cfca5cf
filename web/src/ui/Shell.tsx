import { ActionIcon, Menu, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useMatches, useNavigate, useParams } from "@tanstack/react-router";
import { lazy, type ReactNode, Suspense, useEffect, useState } from "react";
import { instancesQuery, sessionQuery, signOut } from "~/api/queries";
import type { Instance } from "~/api/types";
import { useAnswered } from "~/api/useAnswered";
import { useKept } from "~/api/useKept";
import { TimePicker } from "~/time/TimePicker";
import { useTime, useTimeRange } from "~/time/TimeProvider";
import { moment } from "~/time/zone";
import { useHotkeys } from "./hotkeys";
import { IconChevron, IconCollectors, IconFleet, IconHelp, IconLeave, IconMoon, IconQueries, IconSearch, IconSun, Logo } from "./icons";
import styles from "./shell.module.css";

const loadSearch = () => import("./Search");
const Search = lazy(loadSearch);
const Help = lazy(() => import("./Help"));

/** Where "Queries" leads from a page that is about no instance: the busiest one. */
export function busiest(instances: readonly Instance[]): Instance | undefined {
  return instances.toSorted((a, b) => (b.active_mean ?? -1) - (a.active_mean ?? -1))[0];
}

export function Shell({ children }: { children: ReactNode }) {
  const [dialog, setDialog] = useState<"search" | "help" | null>(null);
  const time = useTime();
  const navigate = useNavigate();
  useEffect(() => {
    // Loaded when the page is at rest, so that the first key after Ctrl K is not lost.
    const timer = setTimeout(() => void loadSearch(), 1500);
    return () => clearTimeout(timer);
  }, []);
  const go = (to: "/" | "/queries" | "/collectors") => void navigate({ to });
  useHotkeys({
    "mod+k": () => setDialog("search"),
    "?": () => setDialog("help"),
    "/": () => document.querySelector<HTMLInputElement>("input[data-filter]")?.focus(),
    "[": () => time.shift(-1),
    "]": () => time.shift(1),
    "-": () => time.zoom("out"),
    "=": () => time.zoom("in"),
    "g f": () => go("/"),
    "g q": () => go("/queries"),
    "g c": () => go("/collectors"),
    j: () => document.querySelector<HTMLElement>("tr[data-row][tabindex]")?.focus(),
  });
  return (
    <div className={styles["shell"]}>
      <a className={styles["skip"]} href="#main">Skip to the page</a>
      <Rail onHelp={() => setDialog("help")} />
      <div className={styles["column"]}>
        <header className={styles["top"]}>
          <Crumbs />
          <span className={styles["fill"]} />
          <button type="button" className={styles["search"]} onClick={() => setDialog("search")}>
            <IconSearch /> <span>Search instances, SQL</span> <kbd>Ctrl K</kbd>
          </button>
          <TimePicker />
          <Live />
          <Scheme />
        </header>
        <main id="main" className={styles["main"]} tabIndex={-1}>{children}</main>
      </div>
      <Suspense fallback={null}>
        {dialog === "search" && <Search onClose={() => setDialog(null)} />}
        {dialog === "help" && <Help onClose={() => setDialog(null)} />}
      </Suspense>
    </div>
  );
}

function Rail({ onHelp }: { onHelp: () => void }) {
  const { id } = useParams({ strict: false }) as { id?: string };
  const here = useMatches().at(-1)?.fullPath ?? "/";
  const queryClient = useQueryClient();
  const session = useQuery(sessionQuery()).data;
  const onQueries = here.startsWith("/queries") || here.endsWith("/queries");
  const onCollectors = here.startsWith("/collectors");
  const leave = () => void signOut().finally(() => queryClient.clear()).then(() => location.assign("/"));
  return (
    <nav className={styles["rail"]} aria-label="Pages">
      <Link to="/" className={styles["logo"]} aria-label="pgAnalytics, fleet"><Logo /></Link>
      <Link to="/" className={styles["item"]} data-on={(!onQueries && !onCollectors) || undefined}><IconFleet />Fleet</Link>
      {id === undefined ? (
        <Link to="/queries" className={styles["item"]} data-on={onQueries || undefined}><IconQueries />Queries</Link>
      ) : (
        <Link to="/instances/$id/queries" params={{ id }} className={styles["item"]} data-on={onQueries || undefined}><IconQueries />Queries</Link>
      )}
      <Link to="/collectors" className={styles["item"]} data-on={onCollectors || undefined}><IconCollectors />Collectors</Link>
      <span className={styles["fill"]} />
      <button type="button" className={styles["small"]} aria-label="Keys and help" title="Keys and help  ?" onClick={onHelp}><IconHelp /></button>
      <button type="button" className={styles["small"]} aria-label="Sign out" title="Sign out" onClick={leave}><IconLeave /></button>
      <span className={styles["version"]}>{session?.version}</span>
    </nav>
  );
}

function Crumbs() {
  const { id } = useParams({ strict: false }) as { id?: string };
  const here = useMatches().at(-1)?.fullPath ?? "/";
  const window = useTimeRange();
  const instances = useQuery(instancesQuery(window)).data;
  const page = here.startsWith("/collectors") ? "Collectors" : here.endsWith("/queries") ? "Queries" : null;
  if (id === undefined) return <nav className={styles["crumbs"]} aria-label="Breadcrumbs"><b aria-current="page">{page ?? "Fleet"}</b></nav>;
  const name = instances?.find((one) => one.id === id)?.name ?? `instance ${id}`;
  const to = page === "Queries" ? "/instances/$id/queries" : "/instances/$id";
  return (
    <nav className={styles["crumbs"]} aria-label="Breadcrumbs">
      <Link to="/">Fleet</Link> <i>/</i>
      {page === null ? <b aria-current="page">{name}</b> : <Link to="/instances/$id" params={{ id }}>{name}</Link>}
      <Menu position="bottom-start">
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" size={22} aria-label="Another instance"><IconChevron /></ActionIcon>
        </Menu.Target>
        <Menu.Dropdown className={styles["menu"]}>
          {(instances ?? []).map((one) => (
            <Menu.Item key={one.id} component={Link} {...({ to, params: { id: one.id } } as object)} data-on={one.id === id || undefined}>{one.name}</Menu.Item>
          ))}
        </Menu.Dropdown>
      </Menu>
      {page !== null && <><i>/</i> <b aria-current="page">{page}</b></>}
    </nav>
  );
}

/** How fresh the numbers are: of the instance of the page, else the newest of the fleet. A click holds everything still. */
function Live() {
  const { id } = useParams({ strict: false }) as { id?: string };
  const { every, now, paused, setPaused, range, skew, zone, setRelative } = useTime();
  const window = useTimeRange();
  const query = useQuery(instancesQuery(window));
  const answered = useAnswered(query.dataUpdatedAt);
  const times = (useKept(query.data, "") ?? []).filter((one) => id === undefined || one.id === id).flatMap((one) => (one.newest_data == null ? [] : [one.newest_data]));
  const newest = times.length === 0 ? null : Math.max(...times);
  const until = newest === null ? "no data yet" : `data until ${moment(newest, zone, now)}`;
  // A backend that hangs gives no error: each question is given up for the next one of the live range.
  const silent = every !== null && answered !== null && now - skew - answered > 3 * every;
  const state = query.isError || silent ? "lost" : range.from !== null ? "fixed" : paused ? "paused" : "live";
  const word = { lost: "No answer", fixed: "Fixed range", paused: "Paused", live: "Live" }[state];
  const rest = { lost: answered === null ? "nothing is known yet" : `since ${moment(answered + skew, zone, now)}; shown numbers are older`, fixed: until, paused: until, live: `every ${every ?? 10} s, ${until}` }[state];
  return (
    <button
      type="button"
      className={styles["live"]}
      data-state={state}
      title={state === "fixed" ? "Back to the live range" : paused ? "Go on" : "Hold the page still"}
      onClick={() => (state === "fixed" ? setRelative(range.span) : setPaused(!paused))}
    >
      <i /> <b>{word}</b> <span>{rest}</span>
    </button>
  );
}

function Scheme() {
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme("dark") === "dark";
  return (
    <ActionIcon variant="default" size={30} aria-label={dark ? "Light colours" : "Dark colours"} title={dark ? "Light colours" : "Dark colours"} onClick={() => setColorScheme(dark ? "light" : "dark")}>
      {dark ? <IconSun /> : <IconMoon />}
    </ActionIcon>
  );
}
