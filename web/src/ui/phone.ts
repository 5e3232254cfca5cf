import { useMediaQuery } from "@mantine/hooks";

/** Too narrow for wide tables and for dragging: cards and range buttons instead. The style sheets use the same width. */
export const phone = "(max-width: 639.98px)";

export function usePhone(): boolean {
  return useMediaQuery(phone, undefined, { getInitialValueInEffect: false });
}
