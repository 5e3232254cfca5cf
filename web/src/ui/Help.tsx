import { Checkbox, Modal } from "@mantine/core";
import { useState } from "react";
import { keysOn, setKeysOn } from "./hotkeys";
import styles from "./search.module.css";

const keys: [string[], string][] = [
  [["Ctrl K"], "search instances, SQL and pages"],
  [["/"], "to the filter of the page"],
  [["g f", "g q", "g c"], "to Fleet, Queries, Collectors"],
  [["j", "k", "Enter", "Esc"], "down and up in a table, open, close"],
  [["[", "]"], "earlier, later"],
  [["-", "="], "zoom out, zoom in; or drag over a chart"],
  [["←", "→"], "move the crosshair of a chart in focus"],
  [["?"], "this list"],
];

export default function Help({ onClose }: { onClose: () => void }) {
  const [on, setOn] = useState(keysOn);
  return (
    <Modal opened onClose={onClose} title="Keys" size={460} transitionProps={{ duration: 0 }} closeButtonProps={{ "aria-label": "Close" }}>
      <dl className={styles["keys"]}>
        {keys.map(([names, meaning]) => (
          <div key={meaning} style={{ display: "contents" }}>
            <dt>{names.map((name, i) => <span key={name}>{i > 0 && " "}<kbd>{name}</kbd></span>)}</dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <Checkbox
        label="Single keys act on the page"
        checked={on}
        onChange={(event) => {
          setOn(event.currentTarget.checked);
          setKeysOn(event.currentTarget.checked);
        }}
      />
      <p className="dim" style={{ marginTop: 16 }}>
        Every number here is also at <a href="/api/v1/openapi.json">the API</a>. A dash is a value that nobody measured; 0 is a zero. <a href="/licenses.md">Licences</a> of what this page is built with.
      </p>
    </Modal>
  );
}
