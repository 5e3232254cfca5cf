import type { Statements } from "~/api/types";
import { count, exact, fixed, percent } from "~/format/number";
import { between, type Zone } from "~/time/zone";
import { Status } from "~/ui/Status";
import { digitsFor, equation, imbalance, partsOf, unobservedText } from "./model";
import styles from "./statements.module.css";

const tokens = { items: "data", rest: "data-2", cut: "wait-timeout", dropped: "wait-io" } as const;
const names = ["items", "rest", "cut", "dropped"] as const;

/** Exact numbers as an equation; `unobserved` stands beside the total with its proof and bounds, never in it. */
export function Account({ account, now, zone }: { account: Statements; now: number; zone: Zone }) {
  const time = partsOf(account, "total_exec_time", 1000);
  const calls = partsOf(account, "calls");
  const seconds = time.items + time.rest + time.cut + time.dropped;
  const off = imbalance(account, "calls");
  return (
    <section className={styles["account"]} aria-label="Account">
      <div className={styles["sums"]}>
        <p><b>Account</b> <span className="dim">every call that PostgreSQL counted in {between(account.from, account.to, zone, now)} is in exactly one column</span></p>
        <ShareBar label="time" parts={time} />
        <ShareBar label="calls" parts={calls} />
        <table>
          <thead>
            <tr>
              <th scope="col"><span className="hidden-text">What</span></th>
              <th scope="col">total</th>
              {names.map((name) => <th key={name} scope="col"><i style={{ background: `var(--${tokens[name]})` }} />{name}</th>)}
              <th scope="col">coverage</th>
            </tr>
          </thead>
          <tbody>
            <Line name="time, s" text={equation(time, digitsFor(seconds))} share={account.coverage.time} exact={exact(seconds)} />
            <Line name="calls" text={equation(calls, 0)} share={account.coverage.calls} exact={exact(account.total.calls)} />
          </tbody>
        </table>
        {account.unmatched !== undefined && (
          <p className="dim">Under the text filter: {count(account.unmatched.calls ?? 0)} calls and {fixed((account.unmatched.total_exec_time ?? 0) / 1000, 1)} s that do not match, or have no text, are left out</p>
        )}
        {off !== 0 && <Status tone="critical">the account does not close: {exact(off)} calls of the total are in no column. Please report this</Status>}
      </div>
      <div className={styles["unobserved"]}>
        <p><Status tone="nodata"><b>unobserved</b></Status> <span className="dim">beside the total, not in it</span></p>
        {account.unobserved.length === 0 && <p className="dim">Nothing: PostgreSQL forgot no counter in this range.</p>}
        {account.unobserved.slice(0, 4).map((one) => (
          <div key={`${one.reason} ${one.since} ${one.until}`}>
            <p><b>{unobservedText[one.reason] ?? one.reason}</b> in {between(one.since, one.until, zone, now)}{one.detail === undefined || one.detail === "" ? "" : `: ${one.detail}`}</p>
            <dl>
              <dt>time, s</dt><dd>{bound(one.lower.total_exec_time, one.upper?.total_exec_time, 1000)}</dd>
              <dt>calls</dt><dd>{bound(one.lower.calls, one.upper?.calls, 1)}</dd>
            </dl>
          </div>
        ))}
        {account.unobserved.length > 4 && <p className="dim">and {account.unobserved.length - 4} more</p>}
      </div>
    </section>
  );
}

function bound(lower: number | undefined, upper: number | undefined, by: number): string {
  const text = (n: number) => (by === 1 || n === 0 ? count(n) : fixed(n / by, 1));
  return upper === undefined ? `${text(lower ?? 0)} or more; no upper bound is known` : `${text(lower ?? 0)} to at most ${text(upper)}`;
}

function Line({ name, text, share, exact: all }: { name: string; text: ReturnType<typeof equation>; share: number | null; exact: string }) {
  return (
    <tr>
      <th scope="row">{name}</th>
      <td title={all}><b>{text.total}</b></td>
      {names.map((part, i) => <td key={part} data-sign={i === 0 ? "=" : "+"}>{text[part]}</td>)}
      <td><b>{share === null ? "–" : `${percent(share)} %`}</b></td>
    </tr>
  );
}

function ShareBar({ label, parts }: { label: string; parts: Record<(typeof names)[number], number> }) {
  const total = names.reduce((sum, name) => sum + parts[name], 0);
  const sizes = names.map((name) => (total > 0 ? (parts[name] / total) * 1000 : 0));
  return (
    <div className={styles["shareBar"]}>
      <span className="dim">{label}</span>
      <svg width="100%" height="8" preserveAspectRatio="none" viewBox="0 0 1000 8" aria-hidden="true">
        <rect width="1000" height="8" fill="var(--track)" />
        {names.map((name, i) => {
          const size = sizes[i] ?? 0;
          const x = sizes.slice(0, i).reduce((sum, one) => sum + one, 0);
          return size > 0 ? <rect key={name} x={x} width={Math.max(1.5, size - 1)} height="8" fill={`var(--${tokens[name]})`} /> : null;
        })}
      </svg>
    </div>
  );
}
