import { describe, expect, it } from "vitest";
import { KeyReader } from "./hotkeys";

const press = (key: string, more = {}) => ({ key, ctrlKey: false, metaKey: false, altKey: false, ...more });

describe("keys", () => {
  it("reads single keys, pairs and Ctrl K", () => {
    const reader = new KeyReader();
    expect(reader.read(press("["), 0)).toBe("[");
    expect(reader.read(press("g"), 10)).toBeNull();
    expect(reader.read(press("f"), 500)).toBe("g f");
    expect(reader.read(press("k", { metaKey: true }), 600)).toBe("mod+k");
    expect(reader.read(press("c", { ctrlKey: true }), 700)).toBeNull();
  });
  it("forgets a first key after a second", () => {
    const reader = new KeyReader();
    reader.read(press("g"), 0);
    expect(reader.read(press("f"), 1500)).toBe("f");
  });
});
