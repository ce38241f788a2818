/** How every test, benchmark and picture starts Chromium: Debian's, headless, as root, and without requests of its own. */
export const CHROMIUM_LAUNCH = {
  executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
  ],
};
