/** What vite makes of imports that TypeScript does not know. */

declare module '*?worker&url' {
  /** of the bundled worker */
  const url: string;
  // oxlint-disable-next-line import/no-default-export
  export default url;
}

declare module '*.css?inline' {
  /** the stylesheet's text */
  const text: string;
  // oxlint-disable-next-line import/no-default-export
  export default text;
}

interface ImportMeta {
  readonly env: { readonly DEV: boolean };
}
