/** A popover below the button of the bar that opens it. The browser's popover does focus, Esc, and a click elsewhere. */
const GAP = 6;
const MARGIN = 12;

/** `onOpen` fills it with what is true now. */
export function setUpPanel(panel: HTMLElement, button: HTMLElement, onOpen: () => void, onClose: () => void): void {
  panel.addEventListener('beforetoggle', (event) => {
    if ((event as ToggleEvent).newState !== 'open') return;
    onOpen();
    place(panel, button);
  });
  panel.addEventListener('toggle', (event) => {
    const open = (event as ToggleEvent).newState === 'open';
    button.setAttribute('aria-expanded', String(open));
    if (open) place(panel, button);
    else onClose();
  });
  addEventListener('resize', () => {
    if (panel.matches(':popover-open')) place(panel, button);
  });
}

function place(panel: HTMLElement, button: HTMLElement): void {
  const at = button.getBoundingClientRect();
  // Below the whole bar: its buttons are not all of one height.
  const bottom = button.parentElement?.getBoundingClientRect().bottom ?? at.bottom;
  const width = Math.min(panel.offsetWidth || 360, innerWidth - 2 * MARGIN);
  const left = Math.max(MARGIN, Math.min(at.left, innerWidth - width - MARGIN));
  panel.style.setProperty('--panel-left', `${Math.round(left)}px`);
  panel.style.setProperty('--panel-top', `${Math.round(bottom + GAP)}px`);
}
