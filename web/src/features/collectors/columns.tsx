import type { Collector } from "~/api/types";
import { Sparkline } from "~/chart/Sparkline";
import { age } from "~/format/duration";
import { count, exact, missing, percent, sig } from "~/format/number";
import { bytes, scaleFor } from "~/format/unit";
import { Bar } from "~/table/Bar";
import type { Col } from "~/table/DataTable";
import { Status } from "~/ui/Status";
import styles from "./collectors.module.css";
import { success } from "./model";

/** `spool` and `memory` are the largest shown: a column has one unit. */
export function columns(now: number, spool: number, memory: number): Col<Collector>[] {
  const memoryScale = scaleFor("bytes", memory);
  const spoolScale = scaleFor("bytes", spool);
  return [
    { id: "state", header: "State", sort: (one) => (one.state === "silent" ? `0 ${one.name}` : `1 ${one.name}`), cell: (one) => <Status tone={one.state === "silent" ? "nodata" : "ok"}>{one.state}</Status> },
    { id: "name", header: "Collector", sort: (one) => one.name, cell: (one) => <b title={one.hostname}>{one.name}</b> },
    { id: "version", header: "Version", num: true, sort: (one) => one.version, cell: (one) => one.version },
    { id: "instances", header: "Instances", num: true, sort: (one) => one.instances.length, cell: (one) => count(one.instances.length) },
    { id: "cycle", header: "Cycle, s", num: true, sort: (one) => one.cycle_seconds, cell: (one) => <span title={exact(one.cycle_seconds)}>{sig(one.cycle_seconds)}</span> },
    {
      id: "share", header: "of its interval", cell: (one) => (one.cycle_seconds == null || one.interval === undefined ? missing : (
        <span className={styles["pair"]}><Bar width={48} track max={one.interval} parts={[{ value: one.cycle_seconds, token: one.cycle_seconds > one.interval * 0.5 ? "warning" : "data" }]} /> <span className="dim">{percent(one.cycle_seconds / one.interval)} % of {one.interval} s</span></span>
      )),
    },
    { id: "trend", header: "Cycle, range", cell: (one) => <Sparkline values={one.cycle_trend ?? []} label={`cycle time of ${one.name}`} /> },
    { id: "busy", header: "Busy, s", num: true, title: "Σ of round times over workers, per interval", sort: (one) => one.busy_seconds, cell: (one) => <span title={exact(one.busy_seconds)}>{sig(one.busy_seconds)}</span> },
    { id: "cpu", header: "CPU, % core", num: true, sort: (one) => one.cpu_percent, cell: (one) => <span title={exact(one.cpu_percent)}>{sig(one.cpu_percent)}</span> },
    { id: "memory", header: `Memory, ${memoryScale.label}`, num: true, sort: (one) => one.memory_bytes, cell: (one) => <span title={`${exact(one.memory_bytes)} bytes; peak ${bytes(one.memory_peak_bytes)}`}>{one.memory_bytes == null ? missing : sig(one.memory_bytes / memoryScale.by)}</span> },
    { id: "spool", header: `Spool, ${spoolScale.label}`, num: true, sort: (one) => one.spool_bytes, cell: (one) => <span title={`${exact(one.spool_bytes)} of ${bytes(one.spool_max_bytes)}, ${count(one.spool_batches)} batches`}>{one.spool_bytes == null ? missing : sig(one.spool_bytes / spoolScale.by)}</span> },
    { id: "oldest", header: "Oldest in it", num: true, sort: (one) => one.spool_oldest_age, cell: (one) => (one.spool_oldest_age == null ? missing : one.spool_oldest_age < 10 ? `${sig(one.spool_oldest_age)} s` : age(one.spool_oldest_age)) },
    { id: "coverage", header: "Coverage, %", num: true, title: "Statement coverage, of calls", sort: (one) => one.coverage_calls, cell: (one) => <Rate share={one.coverage_calls} below={0.95} digits={1} /> },
    { id: "success", header: "Success, %", num: true, title: "stored / (planned − pending)", sort: (one) => success(one.counts), cell: (one) => <Rate share={success(one.counts)} below={0.99} digits={2} /> },
    { id: "pool", header: "Pool", num: true, title: "Connections at work / open / at most", cell: (one) => `${count(one.pool_busy)} / ${count(one.pool_open)} / ${count(one.pool_max)}` },
    { id: "pushed", header: "Pushed, ago", num: true, sort: (one) => (one.last_push == null ? null : now - one.last_push), cell: (one) => (one.last_push == null ? "never" : age(now - one.last_push)) },
  ];
}

function Rate({ share, below, digits }: { share: number | null | undefined; below: number; digits: number }) {
  if (share === null || share === undefined) return missing;
  return share < below ? <Status tone="warning">{percent(share, digits)}</Status> : percent(share, digits);
}
