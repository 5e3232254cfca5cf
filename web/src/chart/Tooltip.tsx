import { percent, sig } from "~/format/number";
import { between, clock, moment, type Zone } from "~/time/zone";
import { IconClose, IconNoData } from "~/ui/icons";
import styles from "./chart.module.css";
import type { Gap } from "./gaps";
import type { Value } from "./grid";

export interface TipRow {
  key: string;
  label: string;
  color: string;
  value: Value;
}

interface Props {
  at: number;
  now: number;
  bucket: [number, number];
  zone: Zone;
  rows: TipRow[];
  total: Value | undefined;
  unit: string;
  by: number;
  left: number;
  width: number;
}

/** One tooltip, under the pointer only: total first, then the parts and their shares. */
export function Tooltip({ at, now, bucket, zone, rows, total, unit, by, left, width }: Props) {
  const place = left > width / 2 ? { right: width - left + 10 } : { left: left + 10 };
  return (
    <div className={styles["tip"]} style={place}>
      <div className={styles["tipHead"]}>
        <b>{moment(at, zone, now)}</b> <span>{clock(bucket[0], zone)} – {clock(bucket[1], zone)}</span>
      </div>
      <table>
        <tbody>
          {total !== undefined && (
            <tr>
              <th scope="row"><b>total</b></th>
              <td><b>{sig(total === null ? null : total / by)}</b></td>
              <td>{unit}</td>
            </tr>
          )}
          {rows.map((row) => (
            <tr key={row.key}>
              <th scope="row"><i style={{ background: row.color }} />{row.label}</th>
              <td>{sig(row.value === null ? null : row.value / by)}</td>
              <td>{total === undefined ? unit : share(row.value, total)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function share(value: Value, total: Value): string {
  return value === null || total === null || total === 0 ? "" : `${percent(value / total)} %`;
}

interface GapTipProps {
  gap: Gap;
  now: number;
  zone: Zone;
  left: number;
  width: number;
  pinned: boolean;
  onClose: () => void;
}

/** What a gap quotes from the ledger. A click pins it. */
export function GapTip({ gap, now, zone, left, width, pinned, onClose }: GapTipProps) {
  const place = left > width / 2 ? { right: width - left + 10 } : { left: left + 10 };
  return (
    <div className={styles["tip"]} style={place} data-pinned={pinned || undefined}>
      <div className={styles["tipGap"]}>
        <IconNoData /> {gapTitle(gap)} {between(gap.from, gap.to, zone, now)}
        {pinned && (
          <button type="button" aria-label="Close" onClick={onClose}><IconClose /></button>
        )}
      </div>
      {gapLines(gap).map((line) => (
        <p key={line}>{line}</p>
      ))}
    </div>
  );
}

export function gapTitle(gap: Gap): string {
  return { gap: "No data", bridged: "Detail lost, total kept,", before: "Not watched yet" }[gap.kind];
}

export function gapLines(gap: Gap): string[] {
  if (gap.kind === "before") return ["the time before the first reading"];
  if (gap.reasons.length === 0) return ["the ledger gives no reason: no tick was planned here"];
  return gap.reasons.map(({ outcome, reason, ticks }) => `${ticks} ${ticks === 1 ? "tick" : "ticks"} ${outcome}${reason === "" ? "" : `(${reason})`}`);
}
