import { ActionIcon, Button, Popover, SegmentedControl, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { IconCalendar, IconChevron, IconLeft, IconMinus, IconPlus, IconRight } from "~/ui/icons";
import { usePhone } from "~/ui/phone";
import { presets, rangeName, shortName } from "./range";
import styles from "./time.module.css";
import { useTime, useTimeRange } from "./TimeProvider";
import { parseClock, span, stamp, type Zone } from "./zone";

const offered = presets.filter(([size]) => ![60, 1800, 172_800].includes(size));

export function TimePicker() {
  const time = useTime();
  const { from, to } = useTimeRange();
  const [open, setOpen] = useState(false);
  const narrow = usePhone();
  const name = rangeName(time.range);
  const text = `${span(from, to, time.zone, time.now)}${time.zone === "UTC" ? " UTC" : ""}`;
  return (
    <div className={styles["picker"]} role="group" aria-label="Time range">
      <ActionIcon variant="default" size={narrow ? 36 : 30} aria-label="Earlier" title="Earlier  [" onClick={() => time.shift(-1)}><IconLeft /></ActionIcon>
      <Popover opened={open} onChange={setOpen} position="bottom-end" width={400} trapFocus withinPortal returnFocus>
        <Popover.Target>
          {narrow ? (
            <ActionIcon variant="default" size={36} aria-label={`Time range ${name === "" ? text : name}`} title={text} onClick={() => setOpen(!open)}><IconCalendar /></ActionIcon>
          ) : (
            <Button variant="default" size="sm" h={30} px={10} leftSection={<IconCalendar />} rightSection={<IconChevron />} title={text} onClick={() => setOpen(!open)}>
              <span className="hidden-text">Time range</span>
              {name !== "" && <b>{name}</b>}
              <span className={styles["span"]} data-alone={name === "" || undefined}>{text}</span>
            </Button>
          )}
        </Popover.Target>
        <Popover.Dropdown className={styles["drop"]} aria-label="Choose a time range">
          <div className={styles["presets"]}>
            {offered.map(([size, label]) => (
              <button
                key={size}
                type="button"
                aria-pressed={time.range.from === null && time.range.span === size}
                onClick={() => {
                  time.setRelative(size);
                  setOpen(false);
                }}
              >
                Last {label}
              </button>
            ))}
          </div>
          <Absolute
            // The form starts from what the page shows now.
            key={`${from} ${to} ${time.zone}`}
            from={from}
            to={to}
            zone={time.zone}
            onSet={(start, end) => {
              time.setAbsolute(start, end);
              setOpen(false);
            }}
          />
        </Popover.Dropdown>
      </Popover>
      {narrow && <Spans />}
      <ActionIcon variant="default" size={narrow ? 36 : 30} aria-label="Later" title="Later  ]" onClick={() => time.shift(1)} disabled={time.range.from === null}><IconRight /></ActionIcon>
      {!narrow && <ActionIcon variant="default" size={30} aria-label="Zoom out" title="Zoom out  -" onClick={() => time.zoom("out")}><IconMinus /></ActionIcon>}
      {!narrow && <ActionIcon variant="default" size={30} aria-label="Zoom in" title="Zoom in  =" onClick={() => time.zoom("in")}><IconPlus /></ActionIcon>}
    </div>
  );
}

const buttons = [300, 900, 3600, 21_600, 86_400, 604_800];

/** Ranges to press, where there is no pointer to drag with. A span that is none of them stands in front. */
function Spans() {
  const time = useTime();
  const { range } = time;
  const live = range.from === null;
  return (
    <>
      {(live && !buttons.includes(range.span) ? [range.span, ...buttons.slice(0, -1)] : buttons).map((size) => (
        <button key={size} type="button" className={styles["size"]} aria-pressed={live && range.span === size} aria-label={`Last ${shortName(size)}`} onClick={() => time.setRelative(size)}>{shortName(size)}</button>
      ))}
    </>
  );
}

function Absolute({ from, to, zone, onSet }: { from: number; to: number; zone: Zone; onSet: (from: number, to: number) => void }) {
  const { setZone } = useTime();
  const [start, setStart] = useState(stamp(from, zone));
  const [end, setEnd] = useState(stamp(to, zone));
  const [wrong, setWrong] = useState("");
  function submit(event: FormEvent) {
    event.preventDefault();
    const [first, last] = [parseClock(start, zone), parseClock(end, zone)];
    if (first === null || last === null) return setWrong("write 2026-11-24 12:30 or 2026-11-24 12:30:00");
    if (first >= last) return setWrong("the start must be before the end");
    return onSet(first, last);
  }
  return (
    <form className={styles["absolute"]} onSubmit={submit}>
      <TextInput label="From" value={start} onChange={(event) => setStart(event.currentTarget.value)} size="sm" error={wrong !== ""} />
      <TextInput label="To" value={end} onChange={(event) => setEnd(event.currentTarget.value)} size="sm" error={wrong} />
      <Button type="submit" size="compact-sm">Show this range</Button>
      <SegmentedControl
        size="xs"
        aria-label="Time zone"
        value={zone}
        onChange={(value) => setZone(value === "local" ? "local" : "UTC")}
        data={[{ value: "UTC", label: "UTC" }, { value: "local", label: "Browser's zone" }]}
      />
    </form>
  );
}
