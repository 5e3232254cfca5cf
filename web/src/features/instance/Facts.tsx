import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { InstanceDetail } from "~/api/types";
import { age } from "~/format/duration";
import { count, missing, sig } from "~/format/number";
import { date, moment, type Zone } from "~/time/zone";
import { roleOf, versionOf } from "~/ui/instance";
import styles from "./instance.module.css";

function Fact({ name, children, title }: { name: string; children: ReactNode; title?: string }) {
  return (
    <div title={title}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

export function Facts({ instance, now, zone }: { instance: InstanceDetail; now: number; zone: Zone }) {
  const start = instance.postmaster_start ?? null;
  const id = instance.system_identifier;
  const labels = Object.entries(instance.labels);
  return (
    <dl className={styles["facts"]}>
      <Fact name="Answered">{instance.newest_data == null ? missing : <><b>{age(now - instance.newest_data)}</b> ago</>}</Fact>
      <Fact name="Version" title={instance.version}><b>{versionOf(instance) || missing}</b></Fact>
      <Fact name="Role"><b>{roleOf(instance) ?? missing}</b></Fact>
      {id !== undefined && id !== "" && <Fact name="Cluster" title={`system identifier ${id}`}><code>{id.length > 10 ? `${id.slice(0, 4)}…${id.slice(-4)}` : id}</code></Fact>}
      <Fact name="Uptime">{start === null ? missing : <><b>{age(now - start)}</b> since {now - start > 86_400 ? date(start, zone) : moment(start, zone, now)}</>}</Fact>
      <Fact name="Connections"><b>{count(instance.sessions)} / {count(instance.max_connections)}</b> {instance.active == null ? "" : `${sig(instance.active)} active`}</Fact>
      <Fact name="Databases" title={(instance.database_names ?? []).join(", ")}><b>{count(instance.databases ?? instance.database_names?.length)}</b></Fact>
      <Fact name="Collected by">{instance.collector === undefined ? missing : <><Link to="/collectors">{instance.collector}</Link>{instance.interval !== undefined && <> every {instance.interval} s{instance.interval > 10 ? ", activity 10 s" : ""}</>}</>}</Fact>
      {labels.length > 0 && <Fact name="Labels">{labels.map(([key, value]) => <code key={key} className={styles["label"]}>{key}={value}</code>)}</Fact>}
    </dl>
  );
}
