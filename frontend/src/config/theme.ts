import { createTheme, type MantineColorsTuple } from '@mantine/core';

const rocket: MantineColorsTuple = [
  '#eaf2ff',
  '#d3e1fb',
  '#a5c1f3',
  '#739fec',
  '#4b82e6',
  '#3270e3',
  '#2366e1',
  '#1656c8',
  '#0c4cb4',
  '#00419e',
];

const flame: MantineColorsTuple = [
  '#fff2e6',
  '#ffe2cf',
  '#fdc49f',
  '#fba36b',
  '#f9873f',
  '#f97623',
  '#f96d13',
  '#c94f00',
  '#b04500',
  '#973900',
];

const dark: MantineColorsTuple = [
  '#dfe5f2',
  '#b4bed3',
  '#95a1bb',
  '#6c7893',
  '#39435a',
  '#2c3548',
  '#1f2635',
  '#171c28',
  '#121722',
  '#0c1018',
];

const CLOSE = { 'aria-label': 'Close' };

/**
 * The look. Its CSS variables are written when the site is built (vite.config.ts): the content security policy
 * allows no style element, so nothing may inject one. Hence no scroll lock behind dialogs either.
 */
export const theme = createTheme({
  primaryColor: 'rocket',
  primaryShade: { light: 7, dark: 7 },
  colors: { rocket, flame, dark },
  defaultRadius: 'md',
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
  headings: {
    fontWeight: '650',
    sizes: { h1: { fontSize: '1.75rem' }, h2: { fontSize: '1.3rem' }, h3: { fontSize: '1.05rem' } },
  },
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    Anchor: { defaultProps: { underline: 'always' } },
    Modal: { defaultProps: { lockScroll: false, centered: true, closeButtonProps: CLOSE } },
    Drawer: { defaultProps: { lockScroll: false, closeButtonProps: CLOSE } },
    Notification: { defaultProps: { closeButtonProps: CLOSE } },
    Tooltip: { defaultProps: { withArrow: true, events: { hover: true, focus: true, touch: true } } },
  },
});
