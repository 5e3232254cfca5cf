import { Modal, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useParams } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { instancesQuery } from "~/api/queries";
import type { Instance } from "~/api/types";
import { useTimeRange } from "~/time/TimeProvider";
import { versionOf } from "./instance";
import { IconCollectors, IconFleet, IconQueries, IconSearch } from "./icons";
import styles from "./search.module.css";

interface Hit {
  key: string;
  icon: React.ReactNode;
  text: string;
  more: string;
  go: () => void;
}

/** Instances by name, label or version that hold every word. */
export function matching(instances: readonly Instance[], text: string): Instance[] {
  const words = text.toLowerCase().split(/\s+/).filter((word) => word !== "");
  return instances.filter((one) => {
    const all = [one.name, one.version, one.collector ?? "", ...Object.entries(one.labels).map(([key, value]) => `${key}=${value}`)].join(" ").toLowerCase();
    return words.every((word) => all.includes(word));
  });
}

export default function Search({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const { id } = useParams({ strict: false }) as { id?: string };
  const navigate = useNavigate();
  const instances = useQuery(instancesQuery(useTimeRange())).data;
  const hits = useMemo<Hit[]>(() => {
    const list = matching(instances ?? [], text).slice(0, 12).map((one): Hit => ({
      key: one.id,
      icon: <IconFleet />,
      text: one.name,
      more: `${one.status}${one.version === "" ? "" : `, PostgreSQL ${versionOf(one)}`}`,
      go: () => void navigate({ to: "/instances/$id", params: { id: one.id } }),
    }));
    const sqlOn = id ?? (text !== "" ? instances?.[0]?.id : undefined);
    const where = instances?.find((one) => one.id === sqlOn)?.name;
    if (text.trim() !== "" && sqlOn !== undefined && where !== undefined) {
      list.push({ key: "sql", icon: <IconQueries />, text: `Statements with “${text.trim()}”`, more: `on ${where}`, go: () => void navigate({ to: "/instances/$id/queries", params: { id: sqlOn }, search: { text: text.trim() } }) });
    }
    for (const page of [{ name: "Fleet", to: "/" as const, icon: <IconFleet /> }, { name: "Collectors", to: "/collectors" as const, icon: <IconCollectors /> }]) {
      if (page.name.toLowerCase().includes(text.trim().toLowerCase())) list.push({ key: page.name, icon: page.icon, text: page.name, more: "page", go: () => void navigate({ to: page.to }) });
    }
    return list;
  }, [instances, text, id, navigate]);
  const chosen = Math.min(at, hits.length - 1);
  const run = (hit: Hit | undefined) => {
    if (hit === undefined) return;
    onClose();
    hit.go();
  };
  return (
    <Modal opened onClose={onClose} withCloseButton={false} padding={0} size={560} yOffset="12vh" title={undefined} aria-label="Search" transitionProps={{ duration: 0 }}>
      <TextInput
        data-autofocus
        aria-label="Search instances, SQL"
        role="combobox"
        aria-expanded
        aria-controls="hits"
        aria-activedescendant={hits[chosen] === undefined ? undefined : `hit-${chosen}`}
        leftSection={<IconSearch />}
        placeholder="Search instances, SQL"
        size="md"
        classNames={{ input: styles["input"] }}
        value={text}
        onChange={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            event.preventDefault();
            setAt((chosen + (event.key === "ArrowDown" ? 1 : -1) + hits.length) % Math.max(1, hits.length));
          }
          if (event.key === "Enter") run(hits[chosen]);
        }}
      />
      <ul id="hits" className={styles["hits"]} role="listbox" aria-label="Found">
        {hits.map((hit, i) => (
          // Keys are handled by the input that owns the list.
          // oxlint-disable-next-line jsx-a11y/click-events-have-key-events
          <li key={hit.key} id={`hit-${i}`} role="option" aria-selected={i === chosen} onPointerMove={() => setAt(i)} onClick={() => run(hit)}>
            {hit.icon} <b>{hit.text}</b> <span>{hit.more}</span>
          </li>
        ))}
        {hits.length === 0 && <li role="option" aria-selected={false} aria-disabled><span>nothing found</span></li>}
      </ul>
    </Modal>
  );
}
