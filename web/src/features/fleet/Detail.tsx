import { Link } from "@tanstack/react-router";
import type { Instance } from "~/api/types";
import { age } from "~/format/duration";
import { moment, type Zone } from "~/time/zone";
import { Remedy } from "~/ui/Copy";
import { advice, limits, stateOf } from "~/ui/instance";
import styles from "./fleet.module.css";

/** The reason and its remedy stand under the row, not behind a hover. */
export function Detail({ instance, now, zone }: { instance: Instance; now: number; zone: Zone }) {
  const state = stateOf(instance);
  const since = instance.status_since;
  const ago = since == null ? null : <> since <b>{moment(since, zone, now)}</b>, {age(now - since)}</>;
  const retried = instance.interval === undefined ? "" : `; retried every ${Math.min(10, instance.interval)} s`;
  return (
    <div className={styles["detail"]}>
      {state === "down" && <p>{instance.reason ?? "no connection"}{ago}{retried}</p>}
      {state === "connecting" && <p>{instance.reason ?? "no answer yet"}{ago}</p>}
      {state === "unknown" && (
        <p>
          {instance.reason ?? "nothing heard"}{ago}
          {instance.collector !== undefined && <>; collector <Link to="/collectors">{instance.collector}</Link></>}. PostgreSQL may well be up; nobody has looked
        </p>
      )}
      {advice(limits(instance)).map((one) => (
        <div className={styles["line"]} key={`${one.reason} ${one.remedy}`}>
          {one.families.join(", ")}{one.databases.length > 0 && ` in ${one.databases.join(", ")}`}: {one.detail}
          {one.remedy !== "" && <>. Mend it: <Remedy text={one.remedy} /></>}
        </div>
      ))}
    </div>
  );
}
