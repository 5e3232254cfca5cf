import type { Event } from "~/api/types";
import { moment, type Zone } from "~/time/zone";
import { IconDiamond } from "~/ui/icons";
import styles from "./instance.module.css";

const most = 3;
/** Kinds that are marks in the charts; the others are hatched. */
const marked = new Set<Event["kind"]>(["setting", "restart", "promotion", "incarnation"]);

/** What happened in the range, beside the marks and hatches that it left in every chart. */
export function EventStrip({ events, now, zone }: { events: Event[] | undefined; now: number; zone: Zone }) {
  if (events === undefined) return <p className={styles["events"]}><span className="dim">Reading events</span></p>;
  if (events.length === 0) return <p className={styles["events"]}><span className="dim">No events in range: no gap, no restart, no setting changed</span></p>;
  return (
    <p className={styles["events"]}>
      <span className="dim">Events in range</span>
      {events.slice(0, most).map((event) => (
        <span key={`${event.time} ${event.kind} ${event.what}`} className={styles["event"]} title={[event.what, event.effect].filter(Boolean).join("; ")}>
          {marked.has(event.kind) ? <IconDiamond /> : <i className={styles["hatch"]} />}
          {moment(event.time, zone, now)}{event.until == null ? "" : ` – ${moment(event.until, zone, now)}`} <span className="dim">{event.what}{event.effect === undefined || event.effect === "" ? "" : `: ${event.effect}`}</span>
        </span>
      ))}
      {events.length > most && <span className="dim" title={events.slice(most).map((event) => `${moment(event.time, zone, now)} ${event.what}`).join("\n")}>and {events.length - most} more</span>}
    </p>
  );
}
