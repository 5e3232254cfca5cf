import { useQueries, useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { instanceQuery, seriesQuery } from "~/api/queries";
import type { Instance, InstanceDetail, StartupStep } from "~/api/types";
import { Chart } from "~/chart/Chart";
import { onGrid, type Point } from "~/chart/grid";
import { age, ms } from "~/format/duration";
import { count, missing } from "~/format/number";
import { useTime } from "~/time/TimeProvider";
import { clock } from "~/time/zone";
import { CopyBlock } from "~/ui/Copy";
import { advice, limits, roleOf, stateOf, stateText, stateTone, versionOf } from "~/ui/instance";
import page from "~/ui/page.module.css";
import { Status, type Tone } from "~/ui/Status";
import styles from "./fleet.module.css";

interface Props {
  instances: readonly Instance[];
  startup: { started: number; steps: StartupStep[] } | undefined;
}

const tones: Record<StartupStep["state"], Tone> = { done: "ok", running: "busy", failed: "critical" };
const families = ["activity", "database", "wal", "settings", "tables", "statements"];

/** A clock that moves every second, for the seconds in which everything starts. */
function useSeconds(): number {
  const { now } = useTime();
  const [at, setAt] = useState({ base: now, passed: 0 });
  useEffect(() => {
    const begin = performance.now();
    const timer = setInterval(() => setAt({ base: now, passed: (performance.now() - begin) / 1000 }), 1000);
    return () => clearInterval(timer);
  }, [now]);
  return at.base === now ? now + at.passed : now;
}

/** The first minute: who is being contacted, what works already, what is missing, when numbers are due. */
export function FirstRun({ instances, startup }: Props) {
  const now = useSeconds();
  const { zone } = useTime();
  const second = Math.floor(now / 5) * 5;
  const window = { from: second - 60, to: second + 5 };
  const few = instances.slice(0, 12);
  const details = useQueries({ queries: few.map((one) => instanceQuery(one.id, window)) });
  const answered = instances.filter((one) => one.version !== "").length;
  const started = startup?.started;
  const troubles = instances.flatMap((one) => advice(limits(one)).map((item) => ({ instance: one, item })));
  const shown = instances.find((one) => stateOf(one) === "up") ?? instances.find((one) => one.status === "up");
  return (
    <div className={page["page"]}>
      <div className={page["headline"]}>
        <h1>Watching {instances.length} {instances.length === 1 ? "server" : "servers"}{started === undefined ? "" : `, for ${age(now - started)}`}</h1>
        <p>This page turns into the fleet table as numbers arrive. Nothing needs to be clicked.</p>
      </div>
      <section className="card" aria-label="Starting">
        <div className="card-head"><h3>Starting</h3></div>
        <table className={styles["steps"]}>
          <tbody>
            {(startup?.steps ?? []).map((step) => (
              <tr key={step.name}>
                <td><Status tone={tones[step.state]}><span className="hidden-text">{step.state}</span></Status></td>
                <td>{step.name}</td>
                <td>{step.detail}</td>
                <td>{step.seconds === undefined ? "" : ms(step.seconds * 1000)}</td>
              </tr>
            ))}
            <tr>
              <td><Status tone={answered === instances.length && instances.length > 0 ? "ok" : "busy"}><span className="hidden-text">instances</span></Status></td>
              <td>Instances</td>
              <td>{instances.length === 0 ? "none is registered yet; a collector names them when it registers" : `${answered} of ${instances.length} have answered; rates appear after the second reading, 5 s after the first`}</td>
              <td>{started === undefined ? "" : age(now - started)}</td>
            </tr>
          </tbody>
        </table>
      </section>
      {instances.length > 0 && (
        <section className={styles["list"]} aria-label="Instances">
          <table>
            <thead><tr><th scope="col">State</th><th scope="col">Instance</th><th scope="col">Version</th><th scope="col">Databases</th><th scope="col">Being collected</th><th scope="col">Now</th></tr></thead>
            <tbody>
              {few.map((one, i) => (
                <tr key={one.id}>
                  <td><Status tone={stateTone[stateOf(one)]}>{stateText[stateOf(one)]}</Status></td>
                  <td><b>{one.name}</b></td>
                  <td>{one.version === "" ? <span className="dim">not known yet</span> : `${versionOf(one)}, ${roleOf(one) ?? missing}`}</td>
                  <td>{count(one.databases)}</td>
                  <td>{one.version === "" ? <span className="dim">only activity is planned before the first contact</span> : <Collected instance={one} detail={details[i]?.data} />}</td>
                  <td className={styles["what"]}>{nowText(one, now, (at) => clock(at, zone))}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {instances.length > few.length && <p className={styles["quiet"]}>and {instances.length - few.length} more</p>}
        </section>
      )}
      {troubles.length > 0 && (
        <div className={styles["advice"]}>
          {troubles.slice(0, 6).map(({ instance, item }) => (
            <section key={`${instance.id} ${item.reason} ${item.remedy}`}>
              <h3><Status tone="warning">{instance.name}: {item.families.join(", ")}{item.databases.length > 0 ? ` in ${item.databases.join(", ")}` : ""}</Status></h3>
              <p>{item.detail}{item.planned ? ". The family is read all the same, and shows less." : ". The family is not read until then; everything else is."}</p>
              {item.remedy !== "" && <CopyBlock text={item.remedy} />}
              <p className="dim">Noticed by itself afterwards; nothing has to be restarted here.</p>
            </section>
          ))}
        </div>
      )}
      {shown !== undefined && <FirstCharts instance={shown} now={now} window={window} />}
      <p className={styles["foot"]}>Watch another server: end with Ctrl-C, start again with one more URL <code>pganalytics up URL… postgres://pganalytics@another-host:5432/postgres</code></p>
    </div>
  );
}

function nowText(one: Instance, now: number, text: (at: number) => string): string {
  if (one.status === "down") return one.reason ?? "no connection";
  if (one.version === "") return one.status_since == null ? "being contacted" : `no answer for ${age(now - one.status_since)}`;
  if (one.newest_data == null) return "answered; the first reading is on its way";
  return limits(one).length > 0 ? `read at ${text(one.newest_data)}; see below` : `read at ${text(one.newest_data)}`;
}

function Collected({ instance, detail }: { instance: Instance; detail: InstanceDetail | undefined }) {
  return (
    <span className={styles["chips"]}>
      {families.map((family) => {
        const plans = (detail?.families ?? []).filter((one) => one.family === family);
        const planned = plans.some((one) => one.planned);
        const limited = limits(instance).some((note) => note.family === family);
        const tone: Tone = plans.length === 0 ? "busy" : !planned ? "nodata" : limited ? "warning" : "ok";
        return <Status key={family} tone={tone}>{family}</Status>;
      })}
    </span>
  );
}

const panels: { title: string; unit: string; what: Record<string, string> }[] = [
  { title: "Sessions", unit: "count", what: { family: "activity", column: "sessions", fn: "avg", backend_type: "client backend" } },
  { title: "Transactions", unit: "/s", what: { family: "database", column: "xact_commit", fn: "rate" } },
  { title: "WAL", unit: "bytes/s", what: { family: "wal", column: "wal_bytes", fn: "rate" } },
];

function FirstCharts({ instance, now, window }: { instance: Instance; now: number; window: { from: number; to: number } }) {
  return (
    <section className={styles["first"]} aria-label={`The first minute of ${instance.name}`}>
      <p><b>{instance.name}</b> <span className="dim">the first minute; hatched is the time before we watched</span></p>
      <div className={styles["charts"]}>
        {panels.map((panel) => <FirstChart key={panel.title} panel={panel} instance={instance} now={now} window={window} />)}
      </div>
    </section>
  );
}

function FirstChart({ panel, instance, now, window }: { panel: (typeof panels)[number]; instance: Instance; now: number; window: { from: number; to: number } }) {
  const { data } = useQuery({ ...seriesQuery(instance.id, window, 5, panel.what), retry: false });
  const { zone } = useTime();
  const grid = { from: window.from, to: window.from + 90, step: 5 };
  const points = (data?.series[0]?.points ?? []) as unknown as Point[];
  const values = onGrid(points, grid);
  const empty = values.every((value) => value === null);
  const since = instance.first_seen ?? null;
  const rate = panel.what["fn"] === "rate";
  return (
    <Chart
      title={panel.title}
      unit={panel.unit}
      grid={grid}
      height={150}
      series={[{ key: panel.title, label: panel.title.toLowerCase(), token: "data", values }]}
      since={since}
      patience={90}
      marks={[{ at: now, label: `now, ${clock(now, zone)}` }]}
      note={empty ? (rate ? "a rate needs two readings" : "the first reading is on its way") : undefined}
    />
  );
}
