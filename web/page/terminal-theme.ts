import type { ITheme } from '@xterm/xterm';

/** The terminal's palettes. Backgrounds equal --terminal of page.css. */

export const DARK: ITheme = {
  background: '#0a1119', foreground: '#dbe5ee', cursor: '#55c8dc', cursorAccent: '#0a1119',
  selectionBackground: '#2b4a66', selectionInactiveBackground: '#22384d',
  scrollbarSliderBackground: '#9db0c333', scrollbarSliderHoverBackground: '#9db0c355', scrollbarSliderActiveBackground: '#9db0c377', overviewRulerBorder: '#0a1119',
  black: '#1b2733', red: '#ff7a72', green: '#5fd38d', yellow: '#eac35a', blue: '#6cb2ff', magenta: '#cf9bff', cyan: '#55c8dc', white: '#c3d0dc',
  brightBlack: '#738699', brightRed: '#ff9d96', brightGreen: '#8be8ae', brightYellow: '#f7da87', brightBlue: '#97cbff', brightMagenta: '#e0bfff', brightCyan: '#8ee0ee', brightWhite: '#ffffff',
};

export const LIGHT: ITheme = {
  background: '#fcfdfe', foreground: '#14202c', cursor: '#086a80', cursorAccent: '#fcfdfe',
  selectionBackground: '#b9dcec', selectionInactiveBackground: '#d8e6ee',
  scrollbarSliderBackground: '#4e5f7033', scrollbarSliderHoverBackground: '#4e5f7055', scrollbarSliderActiveBackground: '#4e5f7077', overviewRulerBorder: '#fcfdfe',
  black: '#14202c', red: '#b3261e', green: '#116b37', yellow: '#815300', blue: '#0a58b8', magenta: '#8a2fb0', cyan: '#086a80', white: '#5a6b7b',
  brightBlack: '#4e5f70', brightRed: '#cc3a31', brightGreen: '#1a7f45', brightYellow: '#946200', brightBlue: '#1f6fd6', brightMagenta: '#a044c7', brightCyan: '#0c7f98', brightWhite: '#2c3a47',
};
