// Runs before the first paint, so that a chosen theme never flashes the other one. The key is the one of page/settings.ts.
try {
  const { theme } = JSON.parse(localStorage.getItem('portside.settings') ?? '{}');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // No storage, or somebody else's bytes in it: the system's theme is used.
}
