import type { ReactNode } from "react";

// 16-px line icons of our own: a package of thousands for two dozen would not pay.

function Icon({ children, size = 16 }: { children: ReactNode; size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 16 16" fill="none" stroke="currentColor" strokeWidth="1.3" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const IconOk = () => <Icon size={14}><circle cx="8" cy="8" r="6.4" /><path d="M5 8.2l2.1 2L11 6" /></Icon>;
export const IconDown = () => <Icon size={14}><circle cx="8" cy="8" r="6.4" /><path d="M5.8 5.8l4.4 4.4M10.2 5.8l-4.4 4.4" /></Icon>;
export const IconWarning = () => <Icon size={14}><path d="M8 2l6.4 11.6H1.6z" /><path d="M8 6.4v3.2M8 11.6v.1" /></Icon>;
export const IconNoData = () => <Icon size={14}><circle cx="8" cy="8" r="6.4" strokeDasharray="2.6 1.6" /><path d="M6.2 6.3c.2-2.2 3.7-2 3.6.1 0 1.4-1.8 1.3-1.8 2.7M8 11.4v.1" /></Icon>;
export const IconSpin = () => <Icon size={14}><path d="M8 1.6a6.4 6.4 0 1 1-6.4 6.4" /></Icon>;
export const IconDiamond = () => <svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true"><path d="M5 0l5 5-5 5-5-5z" fill="currentColor" /></svg>;
export const IconFleet = () => <Icon><rect x="1.5" y="2" width="13" height="5" rx="1" /><rect x="1.5" y="9" width="13" height="5" rx="1" /><path d="M4 4.5h.1M4 11.5h.1M6.5 4.5h5M6.5 11.5h5" /></Icon>;
export const IconQueries = () => <Icon><path d="M2 3h12M2 6.4h8M2 9.8h11M2 13.2h6" /></Icon>;
export const IconCollectors = () => <Icon><circle cx="8" cy="8" r="1.6" /><path d="M4.8 11.2a4.5 4.5 0 0 1 0-6.4M11.2 4.8a4.5 4.5 0 0 1 0 6.4M2.6 13.4a7.6 7.6 0 0 1 0-10.8M13.4 2.6a7.6 7.6 0 0 1 0 10.8" /></Icon>;
export const IconSearch = () => <Icon size={14}><circle cx="7" cy="7" r="4.6" /><path d="M10.6 10.6L14 14" /></Icon>;
export const IconCalendar = () => <Icon size={14}><rect x="2" y="3" width="12" height="11" rx="1" /><path d="M2 6.4h12M5 1.6v3M11 1.6v3" /></Icon>;
export const IconLeft = () => <Icon size={14}><path d="M10 3L5 8l5 5" /></Icon>;
export const IconRight = () => <Icon size={14}><path d="M6 3l5 5-5 5" /></Icon>;
export const IconChevron = () => <Icon size={12}><path d="M3 6l5 5 5-5" /></Icon>;
export const IconMinus = () => <Icon size={14}><path d="M3 8h10" /></Icon>;
export const IconPlus = () => <Icon size={14}><path d="M3 8h10M8 3v10" /></Icon>;
export const IconSun = () => <Icon><circle cx="8" cy="8" r="3" /><path d="M8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3 3l1.2 1.2M11.8 11.8L13 13M13 3l-1.2 1.2M4.2 11.8L3 13" /></Icon>;
export const IconMoon = () => <Icon><path d="M13.4 9.8A5.9 5.9 0 0 1 6.2 2.6a5.9 5.9 0 1 0 7.2 7.2z" /></Icon>;
export const IconHelp = () => <Icon><circle cx="8" cy="8" r="6.4" /><path d="M6.2 6.3c.2-2.2 3.7-2 3.6.1 0 1.4-1.8 1.3-1.8 2.7M8 11.4v.1" /></Icon>;
export const IconCopy = () => <Icon size={14}><rect x="5.5" y="5.5" width="8" height="8" rx="1" /><path d="M3.6 10.5H2.5v-8h8v1.1" /></Icon>;
export const IconClose = () => <Icon size={12}><path d="M3.5 3.5l9 9M12.5 3.5l-9 9" /></Icon>;
export const IconPause = () => <Icon size={12}><path d="M5 3v10M11 3v10" /></Icon>;
export const IconLeave = () => <Icon size={14}><path d="M6.5 2.5h-4v11h4M10 5l3 3-3 3M6 8h7" /></Icon>;

export const Logo = () => (
  <svg width="24" height="24" viewBox="0 0 24 24" aria-hidden="true">
    <path d="M1 21.5h22" stroke="var(--wait-cpu)" strokeWidth="1.5" />
    <rect x="3" y="14" width="3.4" height="6" fill="var(--wait-cpu)" />
    <rect x="7.9" y="9" width="3.4" height="11" fill="var(--wait-cpu)" />
    <rect x="12.8" y="4" width="3.4" height="16" fill="var(--wait-io)" />
    <rect x="17.7" y="10" width="3.4" height="10" fill="var(--wait-cpu)" />
  </svg>
);
