import { useEffect, useRef } from "react";

// Single keys act on the page, and can be switched off (WCAG 2.1.4). Modified keys always act.

const storeKey = "pga-keys";

export function keysOn(): boolean {
  try {
    return localStorage.getItem(storeKey) !== "off";
  } catch {
    return true;
  }
}

export function setKeysOn(on: boolean): void {
  try {
    localStorage.setItem(storeKey, on ? "on" : "off");
  } catch {
    // Nothing is kept; the keys stay as they are.
  }
}

export function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

/** What a key press means: "mod+k", "g f" (two keys within a second), "[" … */
export class KeyReader {
  private first: { key: string; at: number } | null = null;

  read(event: Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "altKey">, at: number): string | null {
    if (event.altKey) return null;
    if (event.ctrlKey || event.metaKey) return event.key.toLowerCase() === "k" ? "mod+k" : null;
    if (this.first !== null && at - this.first.at < 1000) {
      const pair = `${this.first.key} ${event.key}`;
      this.first = null;
      return pair;
    }
    this.first = null;
    if (event.key === "g") {
      this.first = { key: "g", at };
      return null;
    }
    return event.key;
  }
}

export function useHotkeys(actions: Record<string, () => void>): void {
  const latest = useRef(actions);
  useEffect(() => {
    latest.current = actions;
  });
  useEffect(() => {
    const reader = new KeyReader();
    const press = (event: KeyboardEvent) => {
      if (event.defaultPrevented) return;
      const modified = event.ctrlKey || event.metaKey;
      if (!modified && (isTyping(event.target) || !keysOn() || document.querySelector("[role=dialog]") !== null)) return;
      const meaning = reader.read(event, event.timeStamp);
      const action = meaning === null ? undefined : latest.current[meaning];
      if (action === undefined) return;
      event.preventDefault();
      action();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}
