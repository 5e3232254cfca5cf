import { createTheme, type CSSVariablesResolver } from "@mantine/core";

// Mantine's own greys, so that inputs, menus and disabled controls take our surfaces.
const dark = ["#e4e7eb", "#c6ccd4", "#9aa3af", "#7b8491", "#474f5b", "#2e343e", "#1c2027", "#15181e", "#11141a", "#0d1014"] as const;
const gray = ["#f7f8fa", "#f1f3f6", "#e6e9ed", "#d9dde3", "#c3c9d1", "#9aa3af", "#6f7884", "#5b6470", "#3a424c", "#1c2127"] as const;
const blue = ["#e6eefb", "#c9dafa", "#a9c5fb", "#7eabff", "#5a90f5", "#3070e4", "#0d4fc4", "#0b43a6", "#093788", "#072a68"] as const;

export const theme = createTheme({
  fontFamily: "var(--font)",
  fontFamilyMonospace: "var(--mono)",
  fontSizes: { xs: "11px", sm: "12px", md: "13px", lg: "16px", xl: "20px" },
  lineHeights: { xs: "16px", sm: "16px", md: "18px", lg: "22px", xl: "26px" },
  spacing: { xs: "4px", sm: "8px", md: "12px", lg: "16px", xl: "24px" },
  colors: { accent: blue, dark, gray },
  primaryColor: "accent",
  primaryShade: { light: 6, dark: 3 },
  autoContrast: true,
  defaultRadius: 2,
  radius: { xs: "1px", sm: "2px", md: "3px", lg: "4px", xl: "6px" },
  shadows: { xs: "none", sm: "none", md: "none", lg: "none", xl: "none" },
  respectReducedMotion: true,
  cursorType: "pointer",
});

const shared = {
  "--mantine-color-body": "var(--surface)",
  "--mantine-color-text": "var(--text)",
  "--mantine-color-dimmed": "var(--dim)",
  "--mantine-color-anchor": "var(--accent)",
  "--mantine-color-placeholder": "var(--dim)",
  "--mantine-color-default": "var(--surface)",
  "--mantine-color-default-hover": "var(--hover)",
  "--mantine-color-default-color": "var(--text)",
  "--mantine-color-default-border": "var(--line)",
  "--mantine-color-disabled": "var(--panel)",
  "--mantine-color-disabled-color": "var(--dim)",
  "--mantine-color-disabled-border": "var(--line)",
  "--mantine-color-error": "var(--critical)",
  "--mantine-primary-color-filled": "var(--accent)",
  "--mantine-primary-color-contrast": "var(--on-accent)",
};

export const resolver: CSSVariablesResolver = () => ({ variables: {}, light: shared, dark: shared });
