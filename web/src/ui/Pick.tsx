import { Button, Menu, TextInput } from "@mantine/core";
import { useEffect, useState } from "react";
import { IconChevron, IconSearch } from "./icons";
import styles from "./pick.module.css";

interface Option {
  value: string;
  label: string;
}

/** A choice that shows what is chosen: "State all". */
export function Pick({ label, value, options, onPick }: { label: string; value: string; options: readonly Option[]; onPick: (value: string) => void }) {
  const chosen = options.find((option) => option.value === value)?.label ?? value;
  return (
    <Menu position="bottom-start">
      <Menu.Target>
        <Button variant="default" size="sm" h={28} px={10} rightSection={<IconChevron />} className={styles["pick"]}>
          <span>{label}</span> {chosen}
        </Button>
      </Menu.Target>
      <Menu.Dropdown className={styles["menu"]}>
        {options.map((option) => (
          <Menu.Item key={option.value} onClick={() => onPick(option.value)} data-on={option.value === value || undefined}>{option.label}</Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

/** A text filter that reaches the URL when the reader pauses. */
export function Filter({ label, value, width = 220, onChange }: { label: string; value: string; width?: number; onChange: (value: string) => void }) {
  const [text, setText] = useState(value);
  const [seen, setSeen] = useState(value);
  if (seen !== value) {
    // The URL changed by another way, such as the back button.
    setSeen(value);
    setText(value);
  }
  useEffect(() => {
    if (text === value) return undefined;
    const timer = setTimeout(() => onChange(text), 250);
    return () => clearTimeout(timer);
  }, [text, value, onChange]);
  return (
    <TextInput
      data-filter
      aria-label={label}
      placeholder={label}
      leftSection={<IconSearch />}
      rightSection={<kbd className={styles["kbd"]}>/</kbd>}
      size="sm"
      w={width}
      classNames={{ input: styles["input"] }}
      value={text}
      onChange={(event) => setText(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        setText("");
        event.currentTarget.blur();
      }}
    />
  );
}
